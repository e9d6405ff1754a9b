#pragma once
// A node of the next wire version, made of one of this version: its scripts announce, keep and answer what a later version may
// (docs/CLUSTER.md, "Two wire versions"), as tests/faults/next_version.mjs makes them for real processes.

#include <cstdint>
#include <string>

namespace starling::sim {

enum class Version : std::uint8_t {
    ours,
    next,                                    // What it adds may be left out.
    next_breaks                              // Now and then it adds what may not.
};

// A script of the engine, or its digest, becomes that of the version; anything else stays.
void make_next(std::string& text_or_sha, Version version);

}  // namespace starling::sim

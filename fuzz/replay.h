#pragma once
// The fuzz targets by name, for the ordinary build, where all of them are one program (CMakeLists.txt writes the table).

#include <cstddef>
#include <cstdint>
#include <vector>

struct ReplayTarget {
    const char* name;
    int (*take)(const std::uint8_t* data, std::size_t size);
};
extern const std::vector<ReplayTarget> replay_targets;

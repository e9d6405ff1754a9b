#pragma once
// Stories: faults that strike at a bad moment, and a client that goes or comes back just then. Faults that are drawn one by one
// hardly ever meet so; each of these is what one rule of docs/CLUSTER.md is there for (docs/decisions/0015).

#include <cstdint>
#include <vector>

#include "options.h"

namespace starling::sim {

// The traveller leaves its connection, and opens the next one on a node of the story's.
struct Move {
    Duration at{}, away{};
    std::uint32_t node = 0;
    std::uint16_t code = 1006;
    bool silent = false;                     // Its connection is lost without a word.
};

struct Story {
    static constexpr std::uint32_t kTraveller = 0;   // By its number among the clients.
    std::vector<Fault> faults;
    std::vector<Move> moves;
};

// Which one, and its times: by the seed.
Story draw_story(const Options& options);

}  // namespace starling::sim

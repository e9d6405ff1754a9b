#pragma once
// One process of clients: opens its share of the connections, then counts what they get.

#include <cstdint>
#include <vector>

#include "load/board.h"
#include "load/dialect.h"
#include "load/options.h"

namespace starling::bench {

struct Share {
    std::uint32_t first = 0, count = 0;      // Indexes of its connections, of churn: of its cycles.
    std::uint32_t in_flight = 1;
    std::vector<std::uint16_t> ports;        // Of the nodes; the members of each room are spread over them.
};

// Returns when the board says stop; of churn, when its cycles are over.
void run_clients(const Options& options, const Dialect& dialect, const Share& share, Board& board, ClientPart& part);

}  // namespace starling::bench

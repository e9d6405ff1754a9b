#pragma once
// The process that publishes: a few connections, rounds of messages, one room after the other.

#include <cstdint>

#include "load/board.h"
#include "load/dialect.h"
#include "load/options.h"

namespace starling::bench {

// Connects, waits for the board to say run, publishes all rounds and waits for what is under way.
void run_publisher(const Options& options, std::uint16_t port, const Dialect& dialect, Board& board);

}  // namespace starling::bench

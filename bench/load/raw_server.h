#pragma once
// The yardstick: the barest WebSocket server this kernel allows. It accepts, upgrades, and sends what a
// publisher says to each connection of a room; no queue, no limit, no identity, and a full socket loses.

#include <cstdint>

namespace starling::bench {

enum class Writing : std::uint8_t {
    send,    // Each message at once, one `send` for each connection.
    writev,  // What came in one turn together, one `writev` for each connection.
};

// Prints its port and runs until it is killed. `GET /r/N` joins room N; any frame is answered by `{}`.
// On `GET /p/0` each frame is a message for the room that its stamp names.
[[noreturn]] void serve_raw(Writing writing);

}  // namespace starling::bench

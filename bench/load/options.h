#pragma once
// What one call of the load tool is asked for: one scenario, a few targets, alternating runs.

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace starling::bench {

enum class Mode : std::uint8_t { idle, fanout, rooms, churn };

struct Options {
    Mode mode = Mode::fanout;
    std::vector<std::string> targets;        // "raw", "raw-writev", "peer:NAME", or the path of a gateway.
    std::uint32_t runs = 5;
    std::uint32_t connections = 1000;
    std::uint32_t rooms = 1;                 // A connection is in one of them (idle: in `channels`).
    std::uint32_t publishers = 1;
    std::uint32_t messages = 200;            // Rounds: each publisher sends `burst` messages in one.
    std::uint32_t burst = 1;
    double rate = 0;                         // Rounds a second; 0: the next when the last has arrived.
    std::uint32_t padding = 60;              // Bytes of text in each message.
    std::uint32_t cycles = 5000;             // Of churn.
    std::uint32_t in_flight = 64;            // Connections being made at a time, over all processes.
    std::uint32_t processes = 1;             // For the clients.
    std::uint32_t channels = 1;              // For each idle connection.
    bool presence = false;
    bool same_user = false;
    std::uint32_t shards = 1;
    std::uint32_t nodes = 1;                 // Processes of a target; more than one: over one Redis, and all messages go to the first.
    bool pin = true;                         // The server on the first core, the clients on the last.
    std::string peers = "bench/peers";       // Where the peers' folders are.
    std::vector<std::string> flags;          // Handed on to the gateway.
    bool serve_raw = false;                  // Not a measurement: be the raw server.
    bool serve_writev = false;
};

std::expected<Options, std::string> parse_options(int count, char** words);

}  // namespace starling::bench

#pragma once
// What `starling_bench cluster` is asked for: how many nodes, clients and phases.

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace starling::bench {

inline constexpr std::uint32_t kRoomSize = 10;

struct ClusterOptions {
    std::string binary = "build/release/starling";
    std::uint32_t connections = 2000;        // Rounded up to whole rooms.
    std::uint32_t nodes = 3;
    std::uint32_t processes = 2;             // For the clients; whole rooms in each.
    std::uint32_t in_flight = 512;           // Connections being made at a time, over all processes.
    std::uint32_t samples = 300;             // Of joins and of typing, over all processes.
    std::uint32_t history = 20;              // Messages that a room keeps; 0: none, so nothing is recovered.
    std::uint32_t all_messages = 5;          // To the one channel of all, with --all-channel.
    std::uint32_t ping_interval = 25;
    std::uint32_t limit_s = 280;             // Of the whole run; each phase has its own besides.
    double rate = 1000;                      // Publishes a second, to one room each; 0: no such phase.
    double seconds = 10;                     // Of publishing.
    double rest_seconds = 10;
    double storm_seconds = 10;               // Everybody is back within; 0: no storm.
    double kill_backoff = 1;                 // The first pause of a client whose node died; 0: nobody is killed.
    bool apart = false;                      // No Redis: each node alone with the clients of one process.
    bool presence = true;
    bool all_channel = false;
    std::vector<std::string> flags;          // Handed on to the gateways.
};

std::expected<ClusterOptions, std::string> parse_cluster_options(int count, char** words);

}  // namespace starling::bench

#pragma once
// The values that every protocol speaks of: a position in a channel's log, a message, a member.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace starling {

// Where a client is in a channel's log: the last message it has. {epoch, 0, ""} is the beginning.
struct Position {
    std::string epoch;
    std::uint64_t offset = 0;
    std::string id;
    bool operator==(const Position&) const = default;
};

struct Message {
    std::string id;                    // Unique, without dots; empty only for Redis ingress.
    std::uint64_t offset = 0;          // 0: the channel has no history.
    std::optional<std::string> event;
    std::string data;                  // Raw JSON, byte for byte as the publisher wrote it.
    std::string user_id;               // Empty: published by the backend.
    std::optional<std::string> conflate_key;
    std::int64_t time = 0;             // Unix milliseconds.
};

struct Member {
    std::string user_id;
    std::int64_t connected_at = 0;     // Unix milliseconds.
    std::optional<std::string> data;   // Raw JSON.
    bool operator==(const Member&) const = default;
};

enum class Watch : std::uint8_t { members, count, none };

}  // namespace starling

#pragma once
// Points at a session across shards and time: a slot and a generation, so that a late event for a
// closed session finds nothing rather than its successor.

#include <compare>
#include <cstdint>

namespace starling::domain {

struct SessionId {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    auto operator<=>(const SessionId&) const = default;
};

struct SessionRef {
    std::uint32_t shard = 0;
    SessionId id;
    auto operator<=>(const SessionRef&) const = default;
};

}  // namespace starling::domain

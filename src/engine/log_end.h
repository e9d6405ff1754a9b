#pragma once
// The end of a channel's log, as it was delivered to this node's subscribers: a Position (codec/message.h) in little memory.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/short_text.h"
#include "codec/message.h"

namespace starling::engine {

struct LogEnd {
    static constexpr std::uint64_t kUnknown = UINT64_MAX;
    ShortText epoch, id;
    std::uint64_t offset = kUnknown;
    explicit operator bool() const { return offset != kUnknown; }
    Position get() const { return {std::string(epoch.view()), offset, std::string(id.view())}; }
    std::optional<Position> told() const { return *this ? std::optional(get()) : std::nullopt; }
    bool is(std::string_view of_epoch, std::uint64_t at, std::string_view of_id) const {
        return *this && offset == at && epoch == of_epoch && id == of_id;
    }
    bool is(const Position& other) const { return is(other.epoch, other.offset, other.id); }
    void set(const std::optional<Position>& position) {
        *this = {};
        if (position) { *this = {ShortText(position->epoch), ShortText(position->id), position->offset}; }
    }
};

}  // namespace starling::engine

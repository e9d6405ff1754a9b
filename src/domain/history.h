#pragma once
// A channel's log: the last messages, numbered without a gap within an epoch. A client's position is
// checked by offset and id, so an answer never claims continuity with messages that it does not hold.

#include <cstdint>
#include <deque>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "codec/message.h"

namespace starling::domain {

struct HistoryLimits {
    std::uint32_t size = 100;                // Messages kept.
    Duration ttl = 0s;                       // From the last message; 0: for ever.
    bool operator==(const HistoryLimits&) const = default;
};

enum class RecoverFailure : std::uint8_t { epoch, gap, fork, limit };
std::string_view name(RecoverFailure failure);

// What a message costs in an answer, near enough for a limit that protects memory.
std::size_t answer_bytes(const Message& message);

class History {
 public:
    explicit History(std::string epoch) : epoch_(std::move(epoch)) {}
    // Nothing is kept, and the numbers go on from `top`.
    explicit History(Position top)
        : epoch_(std::move(top.epoch)), offset_(top.offset), last_id_(top.id), before_oldest_id_(std::move(top.id)) {}

    // A log as it was read elsewhere: consecutive messages up to `top`, and the id that the first one follows.
    static History restore(Position top, std::string before_oldest_id, std::deque<Message> messages);

    // Numbers `message` and keeps it.
    const Message& append(Message message, const HistoryLimits& limits, Instant now);
    // All messages after `since`, oldest first, or why that cannot be promised (protocol.md section 10).
    std::expected<std::vector<Message>, RecoverFailure> recover(const Position& since, std::size_t messages_max,
                                                                std::size_t bytes_max) const;
    struct Query {
        std::optional<Position> since;
        std::uint32_t limit = 100;
        bool reverse = false;
        std::size_t bytes_max = SIZE_MAX;
    };
    // A page; fewer messages above `bytes_max`. The failure: the log no longer continues `since`.
    std::expected<std::vector<Message>, RecoverFailure> page(const Query& query) const;

    Position top() const { return {epoch_, offset_, last_id_}; }
    const std::string& epoch() const { return epoch_; }
    bool empty() const { return messages_.empty(); }
    const std::deque<Message>& messages() const { return messages_; }
    std::uint64_t first_offset() const { return offset_ + 1 - messages_.size(); }   // The oldest kept.

    // A new world: nothing kept, offsets begin at 1 again.
    void restart(std::string epoch);
    std::optional<Instant> next_deadline() const { return expires_; }
    void on_deadline(Instant now);           // Drops what is older than its ttl; epoch and offset go on.

 private:
    std::optional<RecoverFailure> check(const Position& since) const;

    std::string epoch_;
    std::uint64_t offset_ = 0;
    std::string last_id_;
    std::string before_oldest_id_;           // The id that the oldest kept message follows.
    std::deque<Message> messages_;           // Offsets offset_ - size + 1 .. offset_.
    std::optional<Instant> expires_;
};

}  // namespace starling::domain

#include "domain/history.h"

#include <algorithm>

namespace starling::domain {

std::string_view name(RecoverFailure failure) {
    switch (failure) {
        case RecoverFailure::epoch: return "epoch";
        case RecoverFailure::gap: return "gap";
        case RecoverFailure::fork: return "fork";
        case RecoverFailure::limit: return "limit";
    }
    return "gap";
}

std::size_t answer_bytes(const Message& message) {
    return message.data.size() + message.id.size() + message.user_id.size() + message.conflate_key.value_or("").size() + 96;
}

History History::restore(Position top, std::string before_oldest_id, std::deque<Message> messages) {
    History log(std::move(top.epoch));
    log.offset_ = top.offset;
    log.last_id_ = std::move(top.id);
    log.before_oldest_id_ = messages.empty() ? log.last_id_ : std::move(before_oldest_id);
    log.messages_ = std::move(messages);
    return log;
}

const Message& History::append(Message message, const HistoryLimits& limits, Instant now) {
    message.offset = ++offset_;
    last_id_ = message.id;
    messages_.push_back(std::move(message));
    while (messages_.size() > std::max<std::size_t>(limits.size, 1)) {
        before_oldest_id_ = messages_.front().id;
        messages_.pop_front();
    }
    expires_.reset();
    if (limits.ttl > 0s) { expires_ = now + limits.ttl; }
    return messages_.back();
}

std::optional<RecoverFailure> History::check(const Position& since) const {
    if (since.epoch != epoch_) { return RecoverFailure::epoch; }
    if (since.offset > offset_) { return RecoverFailure::fork; }
    if (since.offset == offset_) {
        if (since.id != last_id_) { return RecoverFailure::fork; }
        return std::nullopt;
    }
    const std::uint64_t first = first_offset();
    if (since.offset + 1 < first) { return RecoverFailure::gap; }
    const std::string& known =
        since.offset + 1 == first ? before_oldest_id_ : messages_[since.offset - first].id;
    if (since.id != known) { return RecoverFailure::fork; }
    return std::nullopt;
}

std::expected<std::vector<Message>, RecoverFailure> History::recover(const Position& since,
                                                                     std::size_t messages_max,
                                                                     std::size_t bytes_max) const {
    if (const auto failure = check(since)) { return std::unexpected(*failure); }
    const std::size_t count = offset_ - since.offset;
    if (count > messages_max) { return std::unexpected(RecoverFailure::limit); }
    std::vector<Message> out;
    out.reserve(count);
    std::size_t bytes = 0;
    for (auto it = messages_.end() - static_cast<std::ptrdiff_t>(count); it != messages_.end(); ++it) {
        bytes += answer_bytes(*it);
        if (bytes > bytes_max) { return std::unexpected(RecoverFailure::limit); }
        out.push_back(*it);
    }
    return out;
}

std::expected<std::vector<Message>, RecoverFailure> History::page(const Query& query) const {
    std::vector<Message> out;
    std::size_t bytes = 0;
    // The first message is always given: a page that a limit empties would never end.
    const auto take = [&](const Message& message) {
        bytes += answer_bytes(message);
        if (out.size() >= query.limit || (bytes > query.bytes_max && !out.empty())) { return false; }
        out.push_back(message);
        return true;
    };
    if (query.since) {
        const auto failure = check(*query.since);
        // Looking back, a position whose own message is trimmed has nothing older: an empty page is exact.
        if (failure && !(query.reverse && *failure == RecoverFailure::gap)) {
            return std::unexpected(*failure);
        }
    }
    const std::uint64_t first = first_offset();
    if (query.reverse) {
        const std::uint64_t end = query.since ? query.since->offset : offset_ + 1;
        for (std::uint64_t offset = end; offset > first;) {
            if (!take(messages_[--offset - first])) { break; }
        }
        return out;
    }
    const std::uint64_t begin = query.since ? query.since->offset + 1 : first;
    for (std::uint64_t offset = begin; offset <= offset_; ++offset) {
        if (!take(messages_[offset - first])) { break; }
    }
    return out;
}

void History::restart(std::string epoch) {
    epoch_ = std::move(epoch);
    offset_ = 0;
    last_id_.clear();
    before_oldest_id_.clear();
    messages_.clear();
    expires_.reset();
}

void History::on_deadline(Instant now) {
    if (!expires_ || now < *expires_) { return; }
    if (!messages_.empty()) { before_oldest_id_ = last_id_; }
    messages_.clear();
    expires_.reset();
}

}  // namespace starling::domain

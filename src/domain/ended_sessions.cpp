#include "domain/ended_sessions.h"

#include <utility>

#include "base/hash.h"

namespace starling::domain {

namespace {

std::uint64_t hash_of(SessionId id) {
    return hash64({reinterpret_cast<const char*>(&id), sizeof id}, hash_seed);
}

}  // namespace

void EndedSessions::add(EndedSession session) {
    const auto place = (first_ + static_cast<std::uint32_t>(by_end_.size())) & kPlaces;
    by_id_.insert(hash_of(session.id), place);
    by_end_.push_back(std::move(session));
}

const EndedSession* EndedSessions::find(SessionId id) const {
    const auto place = by_id_.find(hash_of(id), [&](std::uint32_t one) { return at(one).id == id; });
    return place ? &at(*place) : nullptr;
}

std::optional<Instant> EndedSessions::next_deadline() const {
    if (by_end_.empty()) { return std::nullopt; }
    return by_end_.front().forgotten_at;
}

void EndedSessions::on_deadline(Instant now) {
    while (!by_end_.empty() && by_end_.front().forgotten_at <= now) {
        by_id_.erase(hash_of(by_end_.front().id), first_);
        by_end_.pop_front();
        first_ = (first_ + 1) & kPlaces;
    }
}

}  // namespace starling::domain

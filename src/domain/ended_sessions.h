#pragma once
// Sessions that have ended, for as long as their clients may resume them.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/slot_index.h"
#include "base/time.h"
#include "domain/mail.h"
#include "domain/session_ref.h"

namespace starling::domain {

struct EndedSession {
    SessionId id;
    Instant forgotten_at{};
    std::uint32_t app = 0;
    bool resumable = false;
    std::string user_id;
    std::vector<ChannelGrant> grants;
};

class EndedSessions {
 public:
    // An id comes once, and all wait equally long: `forgotten_at` is never before that of the last one.
    void add(EndedSession session);
    const EndedSession* find(SessionId id) const;
    std::optional<Instant> next_deadline() const;
    void on_deadline(Instant now);

 private:
    // A slot of the index is a place counted from the very first one; of so many bits as never reach its mark for "free".
    static constexpr std::uint32_t kPlaces = 0x7fffffff;
    const EndedSession& at(std::uint32_t place) const { return by_end_[(place - first_) & kPlaces]; }

    std::deque<EndedSession> by_end_;
    std::uint32_t first_ = kPlaces - 500;    // Place of the front. It begins near its end, so that passing that is no rare event.
    SlotIndex by_id_;
};

}  // namespace starling::domain

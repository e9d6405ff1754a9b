#pragma once
// Who is in one channel: a set of users, each held by any number of connections. Joins and leaves are
// told of users, never of connections; a user whose last connection broke lingers before leaving.
//
//   absent --on_enter--> held --last holder: clean--> absent
//                         ^ |
//                on_enter | | last holder: broken
//                         | v
//                       lingering --deadline--> absent
//
// Changes are told in windows: the first at once, those within the window after it together and net.
// Who subscribes inside a window has part of it in its snapshot, and gets only the rest (`groups`).

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "codec/message.h"
#include "codec/native.h"
#include "domain/engine.h"
#include "domain/session_ref.h"

namespace starling::domain {

struct PresenceLimits {
    Duration linger = 5s;
    std::uint32_t list_limit = 1000;
    Duration count_interval = 250ms;
};

// What subscribers are to be told; at most one kind of frame for each of them.
struct PresenceTold {
    struct Group {
        std::uint64_t since = 0;             // For subscribers whose snapshot was at this point.
        codec::native::PresenceDiff diff;
    };
    std::vector<Group> groups;               // The first is for everyone whose snapshot is older.
    bool list = false;                       // Back below the limit: the list anew, to list watchers.
    bool count_to_lists = false;             // The channel is counted: presence.count to list watchers.
    bool count_to_counters = false;
    std::uint64_t count = 0;
    Instant oldest{};                        // When the first of these changes happened.
};

class Presence {
 public:
    // A connection is present. Data is the user's when given; `fallback` only where the user enters.
    void on_enter(std::string_view user, SessionRef holder, std::optional<std::string> data,
                  std::optional<std::string> fallback, Now now, const PresenceLimits& limits);
    void on_exit(std::string_view user, SessionRef holder, Departure how, Now now, const PresenceLimits& limits);
    // Equal data is no update. False: the user is not here.
    bool on_update(std::string_view user, std::string data, Now now, const PresenceLimits& limits);

    std::uint64_t count() const { return users_.size(); }
    bool listed() const { return listed_; }
    std::vector<Member> members() const;
    // Up to `limit` members after `after` in the order of user ids.
    std::vector<Member> page(std::string_view after, std::size_t limit) const;
    std::vector<SessionRef> holders_of(std::string_view user) const;
    // Where a snapshot taken now stands; the subscriber passes it back in its hub entry.
    std::uint64_t snapshot_point();

    bool due(Instant now) const { return dirty_ && now >= window_ends_; }
    // What is to be told now; the caller has checked due().
    PresenceTold tell(Instant now, const PresenceLimits& limits);
    std::optional<Instant> next_deadline() const;
    void on_deadline(Now now, const PresenceLimits& limits);
    std::uint64_t timeouts() const { return timeouts_; }

 private:
    struct User {
        Member member;
        std::vector<SessionRef> holders;     // Empty while lingering.
        Instant lingers_until{};
    };
    struct Change {
        std::string user_id;
        std::optional<Member> before;
    };
    using Users = std::map<std::string, User, std::less<>>;

    void note(const std::string& user, std::optional<Member> before, Instant now);
    void remove(Users::iterator it, Instant now);
    codec::native::PresenceDiff diff_since(std::size_t index) const;

    Users users_;
    std::set<std::pair<Instant, std::string>> lingering_;
    std::vector<Change> log_;                // Since the last tell().
    std::uint64_t log_base_ = 0;             // Point of log_[0].
    std::set<std::uint64_t> points_;         // Snapshots taken inside the log.
    Instant window_ends_{};                  // Nothing is told before.
    Instant oldest_{};                       // Of the changes that dirty_ stands for.
    bool dirty_ = false;
    bool listed_ = true;
    std::uint64_t count_told_ = 0;
    std::uint64_t timeouts_ = 0;
};

}  // namespace starling::domain

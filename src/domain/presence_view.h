#pragma once
// Who is in one channel, as the engine tells it, and what of it the subscribers here are to be told.
//
// Changes are told in windows: the first at once, those within the window after it together and net.
// Who subscribes inside a window has part of it in its snapshot, and gets only the rest (`groups`).

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/apart.h"
#include "base/bytes.h"
#include "base/short_text.h"
#include "base/sorted.h"
#include "base/time.h"
#include "codec/message.h"
#include "codec/native.h"
#include "domain/engine.h"

namespace starling::domain {

struct PresenceLimits {
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

class PresenceView {
 public:
    // A join of who is here and a leave of who is not change nothing, so a snapshot may repeat what is known.
    void on_changed(MembersChanged& changed, Instant now);

    std::uint64_t count() const { return count_; }
    // For a newcomer: whoever was given a number that nobody else was told is told the next one in any case.
    std::uint64_t give_count();
    bool contains(std::string_view user) const { return users_.contains(user); }
    bool listed() const { return listed_; }
    std::vector<Member> members() const;
    // Up to `limit` members after `after` in the order of user ids.
    std::vector<Member> page(std::string_view after, std::size_t limit) const;
    // Where a snapshot taken now stands; the subscriber passes it back in its hub entry.
    std::uint64_t snapshot_point();

    bool due(Instant now) const { return log_ && now >= window_ends_; }
    // What is to be told now; the caller has checked due().
    PresenceTold tell(Instant now, const PresenceLimits& limits);
    // Nobody listens here: what was to be told is forgotten.
    void skip(Instant now, const PresenceLimits& limits);
    std::optional<Instant> next_deadline() const;

 private:
    struct Row {
        ShortText user;
        std::int64_t connected_at = 0;
        SharedBytes data;                    // Null: none.
        std::string_view key() const { return user.view(); }
        Member member() const;
        bool same_data(const std::optional<std::string>& other) const;
        void set(const Member& member);
    };
    struct Change {
        std::string user_id;
        std::optional<Member> before;
    };
    // Since the last tell().
    struct Log {
        std::vector<Change> changes;
        std::set<std::uint64_t> points;      // Snapshots taken inside it.
        Instant oldest{};
    };

    void note(std::string_view user, std::optional<Member> before, Instant now);
    void clear_log(Instant now, const PresenceLimits& limits);
    codec::native::PresenceDiff diff_since(std::size_t index) const;

    Sorted<Row> users_;
    std::uint64_t count_ = 0;
    Apart<Log> log_;                         // None: nothing changed.
    std::uint64_t log_base_ = 0;             // Point of its first change.
    Instant window_ends_{};                  // Nothing is told before.
    std::uint64_t count_told_ = 0;
    bool listed_ = true;
    bool gave_other_ = false;                // A newcomer has another count than count_told_.
};

}  // namespace starling::domain

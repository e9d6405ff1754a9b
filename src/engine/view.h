#pragma once
// What this node believes about the members of one channel: a snapshot of Redis and the chained deltas after it
// (rules R1 to R4 of docs/CLUSTER.md). Changes come out only as the truth allows: what a doubtful snapshot lacks
// is held, what it brings back after a removal waits for confirmation.
//
//   shown = in Redis, or held, or local; not shown: in Redis but unconfirmed
//
// Each node has a view of each of its channels. Many of them nobody was ever in, as users' own: those are two words. Most of
// the others are of few members and no doubt about them: everything else lies in `Rare`.

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/apart.h"
#include "base/bytes.h"
#include "base/short_text.h"
#include "base/sorted.h"
#include "base/time.h"
#include "domain/engine.h"
#include "engine/settings.h"
#include "engine/wire.h"

namespace starling::engine {

struct ChainPosition {
    std::string epoch;
    std::uint64_t version = 0;
    std::string tag;
    bool operator==(const ChainPosition&) const = default;
};

struct Snapshot {
    ChainPosition position;
    std::int64_t digest = 0;
    std::map<std::string, Record> members;
    bool suspect = false;                    // R3: another run of the server, another epoch, or version back.
};

class View {
 public:
    enum class Step : std::uint8_t { applied, duplicate, broken };

    // R2. Changes of the shown set are added to `out`.
    Step on_delta(const Delta& delta, const ClusterSettings& settings, Instant now, domain::MembersChanged& out);
    void on_snapshot(Snapshot snapshot, const ClusterSettings& settings, Instant now, domain::MembersChanged& out);
    // Whether a snapshot at this position continues what is known (R3).
    bool goes_back(const ChainPosition& to) const;
    // R4: users in Redis who wait for confirmation, since the last suspect snapshot; and the confirmation.
    std::vector<std::string> unconfirmed(std::size_t max) const;
    Instant suspected_at() const { return has_rare() ? known_->rare->suspected_at : Instant::max(); }
    void confirm(const std::string& user, domain::MembersChanged& out);
    // R3: Redis lost data at most `since` ago, and this view knows nothing from before: others may hold whoever is in it.
    void on_loss(Instant since, Instant until);
    // What is held is held for the whole time again.
    void on_discontinuity(const ClusterSettings& settings, Instant now);

    // A user of this node whose contribution Redis does not know yet, shown meanwhile; and its end.
    void show_local(const std::string& user, const Record& record, domain::MembersChanged& out);
    // `exact` false: the user may be elsewhere, too; the next snapshot says (R13).
    void drop_local(const std::string& user, bool exact, domain::MembersChanged& out);

    std::optional<Record> find(std::string_view user) const;  // Shown; without the hash.
    bool shows(std::string_view user) const;
    bool in_redis(std::string_view user) const;
    domain::MembersChanged everything() const;
    std::string_view epoch() const { return known_.peek().epoch.view(); }
    std::uint64_t version() const { return known_.peek().version; }
    std::int64_t digest() const { return known_.peek().digest; }     // Of what Redis holds.
    bool empty() const { return known_.peek().members.empty(); }

    std::optional<Instant> next_deadline() const { return peek_rare().check; }
    void on_deadline(const ClusterSettings& settings, Instant now, domain::MembersChanged& out);

 private:
    struct Row {
        ShortText user;
        std::int64_t connected_at = 0;
        SharedBytes data;                    // Null: none.
        std::uint64_t version : 60 = 0;
        std::uint64_t in_redis : 1 = true;
        std::uint64_t shown : 1 = true;
        std::uint64_t doubted : 1 = false;   // Shown before Redis lost data (doubted_until).
        std::uint64_t timed : 1 = false;     // Held, or unconfirmed, until the time in Rare.
        std::string_view key() const { return user.view(); }
    };
    struct Rare {
        std::map<std::string, Instant, std::less<>> until;        // Of rows that are timed.
        std::map<std::string, Instant, std::less<>> tombstones;   // Told as gone, when.
        bool doubts_all = false;             // Newcomers, too.
        // The end of the hold time after a suspect snapshot; it does not pass while the node is blind (on_deadline).
        std::optional<Instant> doubted_until;
        Instant suspected_at{};              // The last suspect snapshot.
        std::vector<std::string> left_epochs;   // Before the present one, the newest last.
        std::optional<Instant> check;        // Not later than the first `until` or end of a tombstone.
    };

    struct Known {
        Sorted<Row> members;
        Apart<Rare> rare;
        ShortText epoch, tag;                // The chain's position.
        std::uint64_t version = 0;
        std::int64_t digest = 0;
    };

    Row* row(std::string_view user) { return known_ ? known_->members.find(user) : nullptr; }
    bool has_rare() const { return known_ && known_->rare; }
    const Rare& peek_rare() const { return known_.peek().rare.peek(); }
    Rare& rare() { return known_.need().rare.need(); }
    std::optional<Instant> doubted_until() const { return peek_rare().doubted_until; }
    bool doubts_newcomers() const { return peek_rare().doubts_all && peek_rare().doubted_until; }
    void check_at(Instant at) { rare().check = rare().check ? std::min(*rare().check, at) : at; }
    void hold(Row& row, Instant until);
    void release(Row& row);                  // Its time is nothing any more.
    void bury(std::string_view user, const ClusterSettings& settings, Instant now);
    void trim();                             // Gives back what is rare, and over.
    void follow(const ChainPosition& position);
    bool was_in(std::string_view epoch) const;
    static Row row_of(std::string_view user, const Record& record);
    static Member member_of(const Row& row);
    static void set(Row& row, const Record& record);
    void update(Row& row, const Record& record, domain::MembersChanged& out);

    Apart<Known> known_;                     // None: nobody was ever in it.
    Instant known_since_ = Instant::max();   // The first snapshot.
};

}  // namespace starling::engine

#pragma once
// What this node believes about the members of one channel: a snapshot of Redis and the chained deltas after it
// (rules R1 to R4 of docs/CLUSTER.md). Changes come out only as the truth allows: what a doubtful snapshot lacks
// is held, what it brings back after a removal waits for confirmation.
//
//   shown = in Redis, or held, or local; not shown: in Redis but unconfirmed

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

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
    // R3: Redis lost data at most `since` ago, and this view knows nothing from before: others may hold whoever is in it.
    void on_loss(Instant since, Instant until);
    // What is held is held for the whole time again.
    void on_discontinuity(const ClusterSettings& settings, Instant now);

    // A user of this node whose contribution Redis does not know yet, shown meanwhile; and its end.
    void show_local(const std::string& user, Record record, domain::MembersChanged& out);
    // `exact` false: the user may be elsewhere, too; the next snapshot says (R13).
    void drop_local(const std::string& user, bool exact, domain::MembersChanged& out);

    const Record* find(std::string_view user) const;          // Shown.
    bool in_redis(std::string_view user) const;
    domain::MembersChanged everything() const;
    const ChainPosition& position() const { return position_; }
    std::int64_t digest() const { return digest_; }           // Of what Redis holds.
    bool empty() const { return members_.empty(); }

    std::optional<Instant> next_deadline() const { return check_; }
    void on_deadline(const ClusterSettings& settings, Instant now, domain::MembersChanged& out);

 private:
    struct Entry {
        Record record;
        bool in_redis = true;
        bool shown = true;
        bool doubted = false;                // Shown before Redis lost data (doubted_until_).
        std::optional<Instant> until;        // Held, or unconfirmed, until then.
    };
    using Members = std::map<std::string, Entry, std::less<>>;

    void check_at(Instant at) { check_ = check_ ? std::min(*check_, at) : at; }
    void follow(ChainPosition position);
    bool was_in(const std::string& epoch) const;
    void join(const std::string& user, const Record& record, domain::MembersChanged& out);
    void update(Entry& entry, const std::string& user, const Record& record, domain::MembersChanged& out);

    Members members_;
    std::map<std::string, Instant, std::less<>> tombstones_;   // Removed by the chain, when.
    std::optional<Instant> known_since_;     // The first snapshot.
    bool doubts_all_ = false;                // Newcomers, too.
    // The end of the hold time after a suspect snapshot; it does not pass while the node is blind (on_deadline).
    std::optional<Instant> doubted_until_;
    ChainPosition position_;
    std::vector<std::string> left_epochs_;   // Before the present one, the newest last.
    std::int64_t digest_ = 0;
    std::optional<Instant> check_;           // Not later than the first `until` or end of a tombstone.
};

}  // namespace starling::engine

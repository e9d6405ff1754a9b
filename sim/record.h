#pragma once
// What really happened, for the checks afterwards: who was present where and when, what each subscriber was
// told, when each node was in contact with Redis, and when Redis was not there.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/time.h"
#include "intervals.h"

namespace starling::sim {

struct Hold {                                // One subscription with presence, as its node sees it.
    std::string user, channel;
    std::int64_t request = 0;
    std::uint32_t wire = 0, node = 0;
    std::uint64_t life = 0;
    Instant opened{};
    std::optional<Instant> acked, ended;
    bool clean = false;                      // How it ended.
    bool crashed = false;
    bool stale = false;                      // Answered while Redis was out of reach.
};

struct Told {
    // begin: the user's list is anew, the snapshots after it are in it.
    // end: it has no list any more; without a channel: of none.
    enum class Kind : std::uint8_t { begin, snapshot, join, leave, end } kind = Kind::join;
    Instant at{};
    std::uint32_t wire = 0;
    std::string channel, user;
};

struct NodeLife {
    Instant began{};
    std::optional<Instant> crashed, drains;
    std::map<std::uint32_t, std::vector<Instant>> contact;   // By partition: when its lease moved on.
};

class Record {
 public:
    std::vector<Hold> holds;
    std::vector<Told> told;
    std::vector<Told> farewells;             // `unsubscribed`, when it was answered: a node does one request after another.
    struct Away : Interval {
        bool new_primary = false;            // It began in a split, and ails its new primary alone.
    };
    std::vector<Away> redis_away;            // Answered nobody ...
    Intervals redis_slow;                    // ... or late.
    // No node could write, and all noticed: none had a way to Redis for 1.5 heartbeats, or all slept for one, by the slowest clock.
    Intervals standstills;
    std::vector<Instant> losses;             // Of what Redis held, all or the last of it.
    std::map<std::pair<std::uint32_t, std::uint64_t>, NodeLife> lives;

    void open(std::uint32_t wire, const std::string& user, const std::string& channel, std::uint32_t node, std::uint64_t life,
              std::int64_t request, Instant now);
    // The subscribe was answered by an error.
    void fail(std::uint32_t wire, const std::string& channel, std::int64_t request, Instant now);
    void acknowledge(std::uint32_t wire, const std::string& channel, bool stale, Instant now);
    void end(std::uint32_t wire, const std::string& channel, bool clean, Instant now);
    void end_all(std::uint32_t wire, bool clean, bool crashed, Instant now);
    Hold* find(std::uint32_t wire, const std::string& channel);
    const std::map<std::pair<std::uint32_t, std::string>, std::size_t>& open_holds() const { return open_; }

 private:
    std::map<std::pair<std::uint32_t, std::string>, std::size_t> open_;
};

}  // namespace starling::sim

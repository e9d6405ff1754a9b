#pragma once
// The properties of docs/CLUSTER.md, looked for in what was recorded and in what there is when all is at rest.
// Those that a client can see by itself (P4, M1, M3) are in Client, those of messages in messages.cpp.

#include <set>
#include <string>

#include "world.h"

namespace starling::sim {

class Checks {
 public:
    explicit Checks(World& world) : world_(world) {}

    void at_rest();                          // P1, P8, P9, M6, L1.
    void what_was_told();                    // P2, P3.
    void told_in_time();                     // P6, P7, R6, L1: by when each list must show what is true.
    void compare_view(const std::string& channel, const std::set<std::string>& users, const std::string& whose);

 private:
    std::set<std::string> present(const std::string& channel) const;
    void clients_at_rest();
    void redis_at_rest();
    struct Due {                             // At that moment the user is, or is not, in every list of the channel.
        Instant at;
        std::string user, channel;
        bool present;
        const char* why;
    };
    std::optional<Due> leave_due(const Hold& hold) const;
    bool holds_removals(Instant began, Instant at) const;
    std::optional<Due> join_due(const Hold& hold) const;
    struct Trouble {
        bool any = false, only_crashes = true, only_loss = true;
        Instant loss_ends{};
    };
    Trouble trouble(Instant from, Instant to) const;
    Intervals connected(const std::string& user, const std::string& channel, bool lingering) const;
    // As far as the teller could know: its side of a split, and since when it runs.
    struct Teller { std::uint32_t node; std::uint64_t life; };
    Instant began(Teller teller) const;
    std::optional<Instant> counts_from(const Hold& hold, const std::vector<Instant>& farewells) const;
    Intervals covered(const std::string& user, const std::string& channel, Teller teller) const;
    Intervals beyond_split(const Hold& hold, Teller teller) const;
    Intervals blind(std::uint32_t node) const;
    Intervals out_of_contact(const Hold& hold, bool surely, std::optional<Teller> teller = {}) const;
    bool watched(const Hold& hold, const Interval& silence, Duration limit) const;
    bool long_blind(const Hold& hold, Instant at, Duration limit) const;

    World& world_;
};

}  // namespace starling::sim

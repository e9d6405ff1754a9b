// By when each list must show what is true: joins and farewells at once, who broke after the linger, a dead node's users
// after its lease (P6), and after Redis lost its data (P7). A bound counts only where no other fault touches it.
#include <algorithm>

#include "checks.h"

namespace starling::sim {

namespace {

// Nodes and Redis are well: a few messages and a batch window.
constexpr Duration kAtOnce = 600ms;
// So long after a fault others than its own bounds may still be owed.
constexpr Duration kRecovery = 20s;

Duration with_drift(Duration duration) { return duration + duration / 10; }

// From when on one node that lives through has been able to watch a dead one's lease: it may have begun after that death.
Instant watched_since(const std::map<std::pair<std::uint32_t, std::uint64_t>, NodeLife>& lives, Instant died, Duration lease) {
    Instant out = Instant::max() - lease;
    for (const auto& [of, life] : lives) {
        const Instant since = std::max(died, life.began);
        const bool before = life.crashed && *life.crashed <= since + lease;
        if (!before) { out = std::min(out, since); }
    }
    return out;
}

}  // namespace

Checks::Trouble Checks::trouble(Instant from, Instant to) const {
    using enum FaultKind;
    Trouble out;
    if (world_.options_.next_breaks) { out = {true, false, false, {}}; }
    for (const auto& fault : world_.faults_) {
        const bool instant = fault.kind == redis_flush || fault.kind == script_flush;
        const Instant begins(fault.at - (fault.kind == redis_failover ? 3200ms : 200ms));
        const Instant ends(fault.at + (instant ? Duration{} : fault.lasts));
        if (to < begins || ends + kRecovery < from) { continue; }
        const bool loss = fault.kind == redis_flush || fault.kind == redis_restart_empty || fault.kind == redis_failover;
        out.only_loss = out.only_loss && loss && !out.any;       // Two of them are no bound's matter.
        out.only_crashes = out.only_crashes && fault.kind == node_crash;
        out.any = true;
        if (loss) { out.loss_ends = ends; }
    }
    return out;
}

// Whom the end of this hold makes leave, if nobody else holds the user.
std::optional<Checks::Due> Checks::leave_due(const Hold& hold) const {
    if (!hold.ended || !hold.acked) { return std::nullopt; }
    const auto& options = world_.options_;
    const Instant gone = *hold.ended;
    const Duration linger = with_drift(options.linger);
    const Duration crash = with_drift(options.lease + 2 * options.heartbeat) + 1s;
    Due due{gone + kAtOnce, hold.user, hold.channel, false, "R6 a farewell"};
    if (!hold.clean) { due = {gone + linger + kAtOnce, hold.user, hold.channel, false, "the end of a linger"}; }
    if (hold.crashed) { due = {watched_since(world_.record_.lives, gone, crash) + crash, hold.user, hold.channel, false, "P6 the end of a node"}; }
    Trouble found = trouble(gone - linger, due.at);
    if (found.any && found.only_crashes && !hold.crashed) {
        // A life that began or ended nearby is no excuse for another node.
        const auto life = world_.record_.lives.find({hold.node, hold.life});
        if (life == world_.record_.lives.end() || life->second.crashed) { return std::nullopt; }
    } else if (found.any && found.only_loss && !hold.crashed) {
        const Duration bound = with_drift(options.lease + options.heartbeat + options.linger + 2 * options.heartbeat) + 1s;
        due.at = std::max(gone, found.loss_ends) + bound;
        due.why = "P7 a leave after a loss";
        found = trouble(gone - linger, due.at);
        if (!found.only_loss) { return std::nullopt; }
    } else if (found.any && !(hold.crashed && found.only_crashes)) {
        return std::nullopt;
    }
    for (const auto& other : world_.record_.holds) {
        if (&other == &hold || other.user != hold.user || other.channel != hold.channel || other.opened > due.at) { continue; }
        if (!other.ended || *other.ended > gone) { return std::nullopt; }      // There, or back.
        // What a node that died held then, or let linger, or had not said yet, is there until it is given up.
        const auto life = world_.record_.lives.find({other.node, other.life});
        const auto died = life == world_.record_.lives.end() ? std::nullopt : life->second.crashed;
        const bool not_before = died && *other.ended + linger + kAtOnce > *died;
        if (not_before && watched_since(world_.record_.lives, *died, crash) + crash > gone && !hold.crashed) { return std::nullopt; }
        if (other.clean) { continue; }
        const bool lingers = *other.ended + linger + kAtOnce > gone;
        // A farewell ends the lingering elsewhere that its node knew of.
        const bool unknown = *other.ended + kAtOnce > gone || !other.acked;
        if (lingers && hold.clean && unknown) { return std::nullopt; }
    }
    return due;
}

std::optional<Checks::Due> Checks::join_due(const Hold& hold) const {
    const auto& options = world_.options_;
    Due due{hold.opened + kAtOnce, hold.user, hold.channel, true, "L1 a join"};
    Trouble found = trouble(hold.opened, due.at);
    if (found.any && found.only_loss) {
        due.at = std::max(hold.opened, found.loss_ends) + with_drift(4s);
        due.why = "P7 a join after a loss";
        found = trouble(hold.opened, due.at);
        if (!found.only_loss) { return std::nullopt; }
    } else if (found.any && !found.only_crashes) {
        return std::nullopt;
    }
    // A node that has just begun has no lease yet.
    const auto life = world_.record_.lives.find({hold.node, hold.life});
    if (life == world_.record_.lives.end() || hold.opened < life->second.began + options.heartbeat) { return std::nullopt; }
    if (hold.ended && *hold.ended <= due.at) { return std::nullopt; }
    return due;
}

// R3: who begins where another node has a later incarnation holds whom that one removes, for Redis may have lost data just before.
bool Checks::holds_removals(Instant began, Instant at) const {
    if (at >= began + with_drift(world_.options_.lease + world_.options_.heartbeat) + kAtOnce) { return false; }
    return std::ranges::any_of(world_.faults_, [&](const Fault& fault) {
        return Instant(fault.at) < began && fault.kind != FaultKind::node_crash && fault.kind != FaultKind::node_drain;
    });
}

void Checks::told_in_time() {
    std::vector<Due> dues;
    for (const auto& hold : world_.record_.holds) {
        if (auto due = leave_due(hold)) { dues.push_back(std::move(*due)); }
        if (auto due = join_due(hold)) { dues.push_back(std::move(*due)); }
    }
    std::ranges::stable_sort(dues, {}, &Due::at);
    struct List {
        Instant begun;
        std::set<std::string> users;
    };
    std::map<std::pair<std::string, std::uint32_t>, List> lists;   // By channel and wire.
    const auto check = [&](const Due& due) {
        for (auto it = lists.lower_bound({due.channel, 0}); it != lists.end() && it->first.first == due.channel; ++it) {
            const Wire& wire = *world_.wires_[it->first.second];
            const Node& node = world_.nodes_[wire.node];
            const auto life = world_.record_.lives.find({wire.node, wire.life});
            // Its node has to have found Redis, and the list to be one of this moment.
            if (node.life != wire.life && life->second.crashed && *life->second.crashed < due.at + 1s) { continue; }
            if (due.at < life->second.began + 2s || due.at < it->second.begun + kAtOnce) { continue; }
            if (!due.present && holds_removals(life->second.began, due.at)) { continue; }
            if (it->second.users.contains(due.user) != due.present) {
                world_.violation(std::string(due.why) + " of " + due.user + " in " + due.channel + " is not told to wire " +
                                 std::to_string(wire.id) + " by " +
                                 std::to_string(std::chrono::duration<double>(due.at.time_since_epoch()).count()));
            }
        }
    };
    std::size_t next = 0;
    for (const auto& told : world_.record_.told) {
        while (next < dues.size() && dues[next].at < told.at) { check(dues[next++]); }
        const std::pair key{told.channel, told.wire};
        switch (told.kind) {
            case Told::Kind::begin: lists[key] = {told.at, {}}; break;
            case Told::Kind::snapshot:
            case Told::Kind::join:
                if (const auto it = lists.find(key); it != lists.end()) { it->second.users.insert(told.user); }
                break;
            case Told::Kind::leave:
                if (const auto it = lists.find(key); it != lists.end()) { it->second.users.erase(told.user); }
                break;
            case Told::Kind::end:
                if (!told.channel.empty()) {
                    lists.erase(key);
                } else {
                    std::erase_if(lists, [&](const auto& list) { return list.first.second == told.wire; });
                }
                break;
        }
    }
    for (; next < dues.size() && dues[next].at < world_.now(); ++next) { check(dues[next]); }
}

}  // namespace starling::sim

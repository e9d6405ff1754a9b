// P2 and P3: each subscriber's leaves and joins must be a walk through what was true. For each leave there is a
// moment, not before the one of the event before it and not after it was told, at which the user was rightly gone;
// for each join one at which the user was connected.
#include <algorithm>

#include "checks.h"

namespace starling::sim {

namespace {

constexpr Duration kNever = 1h;
// How old the view of a node in good health may be.
constexpr Duration kFresh = 600ms;

// A node that is silent is not given up before this, and has been after that, by any clock.
Duration earliest_end(Duration lease) { return lease * 9 / 10 - 100ms; }
Duration latest_end(Duration lease, Duration heartbeat) { return (lease + heartbeat) * 11 / 10 + 500ms; }

}  // namespace

// As the user's nodes see it; `lingering`: or may let the user linger, which takes as long as the node is blind (R7).
Intervals Checks::connected(const std::string& user, const std::string& channel, bool lingering) const {
    Intervals out;
    for (const auto& hold : world_.record_.holds) {
        if (hold.user != user || hold.channel != channel) { continue; }
        Interval whole{hold.opened, hold.ended.value_or(Instant(kNever)) + 1ns};
        // A client that is gone is not there, whatever its node believes.
        const auto& gone = world_.wires_[hold.wire]->gone;
        if (gone && !lingering) { whole.to = std::max(whole.from, std::min(whole.to, *gone)) + 1ns; }
        if (hold.ended && lingering && !hold.clean) {
            whole.to += world_.options_.linger * 11 / 10 + 1s;
            for (const auto& part : blind(hold.node)) {
                if (part.from <= whole.to && whole.to < part.to) { whole.to = part.to + 3s + world_.options_.lease; }
            }
        }
        // What a node that died had not said by then is there until it is given up.
        const auto life = world_.record_.lives.find({hold.node, hold.life});
        if (lingering && life != world_.record_.lives.end() && life->second.crashed && *life->second.crashed < whole.to + kFresh) {
            const auto& options = world_.options_;
            whole.to = std::max(whole.to, *life->second.crashed + (options.lease + 2 * options.heartbeat) * 11 / 10 + 1s);
            for (const auto& away : world_.record_.redis_away) {
                if (away.from <= whole.to && *life->second.crashed < away.to) { whole.to = std::max(whole.to, away.to + 3s + options.lease); }
            }
        }
        // What the node could not say at once it says when it can; or Redis has the user until the node is given up.
        // R9: but in a story, where nothing else is amiss, a node that was given up does not say so of somebody who was gone by then.
        const Options& options = world_.options_;
        const bool doubted = options.mode == Mode::stories && gone && !lingering && long_blind(hold, *gone, latest_end(options.lease, options.heartbeat));
        if (hold.ended && !doubted) {
            const auto given_up = out_of_contact(hold, true);
            for (const auto& part : blind(hold.node)) {
                if (whole.to < part.from || part.to <= whole.to) { continue; }
                Instant until = part.to;
                for (const auto& gap : given_up) {
                    if (gap.from < part.to && part.from < gap.to) { until = std::min(until, gap.from); }
                }
                whole.to = std::max(whole.to, until);
            }
        }
        // The leave is among what a failover lost: Redis has the user again, until the node has said it anew.
        for (const auto& lost : world_.lost_) {
            if (lingering && hold.ended && lost.from <= *hold.ended && *hold.ended <= lost.to) { whole.to = std::max(whole.to, lost.to + 25s); }
        }
        out.push_back(whole);
    }
    return united(std::move(out));
}

// Whether another node read the lease of this hold's node often enough, and for long enough, to give it up.
bool Checks::watched(const Hold& hold, const Interval& silence, Duration limit) const {
    const auto partition = domain::partition_of({0, hold.channel}, world_.options_.partitions);
    for (const auto& [of, life] : world_.record_.lives) {
        const auto contact = of.first == hold.node ? life.contact.end() : life.contact.find(partition);
        if (contact == life.contact.end()) { continue; }
        std::optional<Instant> since, last;
        for (const Instant at : contact->second) {
            // Reads further apart begin anew (1.5 heartbeats for the engine, less here for clocks and links).
            if (at < silence.from || at > silence.to) { continue; }
            if (!since || at - *last > world_.options_.heartbeat * 13 / 10) { since = at; }
            last = at;
            if (at - *since > limit) { return true; }
        }
    }
    return false;
}

// When the node of this hold had been silent for so long that others may have given it up, until it has stated
// again what it holds; `surely`: must have. Time in which Redis was not there is nobody's silence. P7: who began after Redis
// had lost what this node said cannot know of it before it is back, and that it be back within the lease is all that is promised.
Intervals Checks::out_of_contact(const Hold& hold, bool surely, std::optional<Teller> teller) const {
    const Instant knows_since = teller ? began(*teller) : Instant{};
    Intervals out;
    const auto life = world_.record_.lives.find({hold.node, hold.life});
    if (life == world_.record_.lives.end() || world_.options_.memory) { return out; }
    const auto partition = domain::partition_of({0, hold.channel}, world_.options_.partitions);
    const auto contacts = life->second.contact.find(partition);
    if (contacts == life->second.contact.end()) { return {{life->second.began, Instant(kNever)}}; }
    Intervals parts = surely ? world_.record_.redis_slow : Intervals{};
    for (auto part : world_.record_.redis_away) {   // What ails the new primary alone does not ail those who are with the old one.
        for (const auto& split : world_.splits_) {
            const bool other_side = teller && part.new_primary && split.from <= part.from && part.from < split.to && split.with_old(teller->node);
            if (other_side) { part.from = std::min(part.to, split.to); }
        }
        parts.push_back(part);
    }
    const auto away = united(std::move(parts));
    std::vector<Instant> times = contacts->second;
    times.push_back(life->second.crashed ? Instant(kNever) : world_.now());   // The dead go on being silent.
    const auto& options = world_.options_;
    for (std::size_t i = 1; i < times.size(); ++i) {
        const bool drains = life->second.drains && *life->second.drains < times[i];
        const Duration lease = drains ? options.linger + 2 * options.heartbeat : options.lease;
        // Where clocks agree, what a story calls silence is the whole of it (R8).
        const bool exact = options.mode == Mode::stories && !options.drift && !drains;
        const Duration limit = surely ? latest_end(lease, options.heartbeat) : exact ? lease - 100ms : earliest_end(lease);
        const Interval gap{times[i - 1], times[i]};
        if (gap.to - gap.from - overlap(gap, away) <= limit || (surely && !watched(hold, gap, limit))) { continue; }
        Instant from = gap.from + limit;
        for (const Instant loss : world_.record_.losses) {
            if (loss < knows_since && gap.from <= loss && loss < gap.to) { from = std::min(from, loss); }
        }
        out.push_back({from, gap.to + 6s});
    }
    return out;
}

// Whether the node of this hold heard nothing of Redis for so long around `at`, whoever's fault that was.
bool Checks::long_blind(const Hold& hold, Instant at, Duration limit) const {
    const auto life = world_.record_.lives.find({hold.node, hold.life});
    if (life == world_.record_.lives.end() || world_.options_.memory) { return false; }
    const auto contacts = life->second.contact.find(domain::partition_of({0, hold.channel}, world_.options_.partitions));
    if (contacts == life->second.contact.end()) { return true; }
    const auto& times = contacts->second;
    const auto next = std::ranges::upper_bound(times, at);
    const Instant from = next == times.begin() ? life->second.began : *std::prev(next);
    const Instant to = next == times.end() ? world_.now() : *next;
    return to - from > limit;
}

// When a hold on the other side of a split was out of this side's reach for the lease, or not known to it (never, or P7: Redis
// lost it before the teller began): until that one of the two nodes that was with the old primary has found the new one, and has
// stated what it holds.
Intervals Checks::beyond_split(const Hold& hold, Teller teller) const {
    Intervals out;
    const auto partition = domain::partition_of({0, hold.channel}, world_.options_.partitions);
    for (const auto& split : world_.splits_) {
        if (split.with_old(hold.node) == split.with_old(teller.node)) { continue; }
        const std::uint32_t node = split.with_old(teller.node) ? teller.node : hold.node;
        Instant back(kNever), heard = split.from;      // Of the hold's node, on this side.
        for (const auto& [of, life] : world_.record_.lives) {
            const auto contact = life.contact.find(partition);
            if (contact == life.contact.end()) { continue; }
            const auto& times = contact->second;
            const auto first = std::ranges::lower_bound(times, split.to);
            if (of.first == node && first != times.end()) { back = std::min(back, *first); }
            const auto before = std::ranges::lower_bound(times, split.from);
            if (of == std::pair{hold.node, hold.life} && before != times.begin()) { heard = *std::prev(before); }
        }
        const bool unknown = hold.acked && *hold.acked > split.from - 3200ms;
        Instant from = unknown ? *hold.acked : heard + world_.options_.lease * 9 / 10 - 1600ms;
        for (const Instant loss : world_.record_.losses) {
            if (loss < began(teller) && split.from <= loss && loss < back) { from = std::min(from, loss); }
        }
        if (from < back) { out.push_back({from, back + 6s}); }
    }
    return out;
}

Instant Checks::began(Teller teller) const {
    const auto life = world_.record_.lives.find({teller.node, teller.life});
    return life == world_.record_.lives.end() ? Instant{} : life->second.began;
}

// From when a leave of this user is false, if ever: since Redis acknowledged it. Beyond P2, a return at a time when no node could
// write counts from when it was made, where its node could write soon after and the user stayed, and said no farewell elsewhere: no
// linger runs out meanwhile (R7, R10).
std::optional<Instant> Checks::counts_from(const Hold& hold, const std::vector<Instant>& farewells) const {
    constexpr Duration kSoon = 1200ms;
    const Instant opened = world_.wires_[hold.wire]->opened;
    for (const auto& still : world_.record_.standstills) {
        if (opened < still.from || still.to <= opened || still.to + kSoon < hold.opened) { continue; }
        const Interval settling{still.from, still.to + kSoon};
        const auto within = [&](Instant at) { return settling.from <= at && at < settling.to; };
        if ((hold.ended && within(*hold.ended)) || std::ranges::any_of(farewells, within)) { continue; }
        const auto& life = world_.record_.lives.at({hold.node, hold.life});
        const auto contacts = life.contact.find(domain::partition_of({0, hold.channel}, world_.options_.partitions));
        if (contacts == life.contact.end()) { continue; }
        const auto first = std::ranges::lower_bound(contacts->second, still.to);
        if (first != contacts->second.end() && *first < still.to + kSoon) { return opened; }
    }
    return hold.acked;
}

Intervals Checks::covered(const std::string& user, const std::string& channel, Teller teller) const {
    const Duration linger = world_.options_.linger * 9 / 10 - 50ms;
    std::vector<Instant> clean_ends;
    for (const auto& hold : world_.record_.holds) {
        if (hold.user == user && hold.channel == channel && hold.ended && hold.clean) { clean_ends.push_back(*hold.ended); }
    }
    for (const auto& farewell : world_.record_.farewells) {
        if (farewell.user == user && farewell.channel == channel) { clean_ends.push_back(farewell.at); }
    }
    std::ranges::sort(clean_ends);
    Intervals out;
    for (const auto& hold : world_.record_.holds) {
        if (hold.user != user || hold.channel != channel) { continue; }
        const auto from = counts_from(hold, clean_ends);
        if (!from) { continue; }
        Interval whole{*from, hold.ended.value_or(Instant(kNever))};
        // R9: who broke while the node was blind for a lease is not stated again.
        if (hold.ended && !hold.clean && !long_blind(hold, *hold.ended, earliest_end(world_.options_.lease))) {
            whole.to += linger;
            // A clean leave ends the lingering of the user's other connections too.
            const auto next = std::ranges::lower_bound(clean_ends, *hold.ended);
            if (next != clean_ends.end()) { whole.to = std::min(whole.to, *next); }
        }
        auto away = out_of_contact(hold, false, teller);
        for (const auto& part : beyond_split(hold, teller)) { away.push_back(part); }
        for (const auto& part : without(whole, united(std::move(away)))) { out.push_back(part); }
    }
    return united(std::move(out));
}

// When this node could not know what is true, and a moment longer. Lost data do not blind: they must not be believed.
Intervals Checks::blind(std::uint32_t node) const {
    using enum FaultKind;
    Intervals out;
    for (const auto& away : world_.record_.redis_away) { out.push_back({away.from, away.to + 5s}); }
    for (const auto& slow : world_.record_.redis_slow) { out.push_back({slow.from, slow.to + 5s}); }
    if (world_.options_.next_breaks) { out.push_back({Instant{}, Instant(kNever)}); }   // Views lag until the next look.
    for (const auto& split : world_.splits_) { out.push_back({split.from, split.to + 7s}); }
    for (const auto& fault : world_.faults_) {
        bool is_blind = false;
        switch (fault.kind) {
            case node_pause: case command_block: case pubsub_block: case partition: case links_dead:
                is_blind = fault.node == node;
                break;
            case command_cut: case pubsub_cut: case lose_replies: case drop_pushes: case all_sleep: is_blind = true; break;
            default: break;
        }
        if (is_blind) { out.push_back({Instant(fault.at), Instant(fault.ends() + 7s)}); }
    }
    return united(std::move(out));
}

void Checks::what_was_told() {
    std::vector<Intervals> blinds;
    for (std::uint32_t node = 0; node < world_.options_.nodes; ++node) { blinds.push_back(blind(node)); }
    // What a node says at `at` was true not before this.
    const auto true_since = [&](std::uint32_t node, Instant at) {
        for (const auto& part : blinds[node]) { if (part.from <= at && at < part.to) { return part.from - kFresh; } }
        return at - kFresh;
    };
    struct Walk { Instant at; bool left = false; };
    struct Truth { Intervals connected, lingering, covered; std::set<std::uint32_t> nodes; };
    std::map<std::tuple<std::string, std::string, std::uint64_t>, Truth> truths;   // By the teller, too, where tellers differ.
    std::map<std::tuple<std::uint32_t, std::string, std::string>, Walk> walks;
    std::map<std::pair<std::uint32_t, std::string>, Instant> begins;
    for (const auto& told : world_.record_.told) {
        if (told.kind == Told::Kind::begin) {
            begins[{told.wire, told.channel}] = true_since(world_.wires_[told.wire]->node, told.at);
            std::erase_if(walks, [&](const auto& walk) { return std::get<0>(walk.first) == told.wire && std::get<1>(walk.first) == told.channel; });
            continue;
        }
        if (told.kind == Told::Kind::end) { continue; }
        const Teller teller{world_.wires_[told.wire]->node, world_.wires_[told.wire]->life};
        const bool alike = world_.splits_.empty() && world_.record_.losses.empty();
        const auto [it, is_new] = truths.try_emplace({told.user, told.channel, alike ? 0 : teller.life << 8 | teller.node});
        if (is_new) {
            it->second = {connected(told.user, told.channel, false), connected(told.user, told.channel, true), covered(told.user, told.channel, teller), {}};
            for (const auto& hold : world_.record_.holds) {
                if (hold.user == told.user && hold.channel == told.channel) { it->second.nodes.insert(hold.node); }
            }
        }
        const auto key = std::tuple{told.wire, told.channel, told.user};
        const auto walk = walks.find(key);
        Instant since = true_since(world_.wires_[told.wire]->node, told.at);
        // What a node that was cut off had on its way, or has to say when it is back, is old news, too.
        for (const auto node : it->second.nodes) { since = std::min(since, true_since(node, told.at)); }
        const Instant from = walk == walks.end() ? begins[{told.wire, told.channel}] : walk->second.at;
        if (told.kind == Told::Kind::snapshot) {
            // In the list of a newcomer: lingering, or not known to be gone yet.
            walks.insert_or_assign(key, Walk{since, false});
            continue;
        }
        const bool join = told.kind == Told::Kind::join;
        // A newcomer that was given a stale list hears later of who lingered then.
        const Intervals& there = walk != walks.end() && walk->second.left ? it->second.connected : it->second.lingering;
        const auto at = join ? earliest(there, true, from, told.at) : earliest(it->second.covered, false, from, told.at);
        if (!at) {
            for (const auto& hold : world_.record_.holds) {
                if (hold.user != told.user || hold.channel != told.channel) { continue; }
                const auto text = [](std::optional<Instant> time) { return time ? std::to_string(std::chrono::duration<double>(time->time_since_epoch()).count()) : std::string("-"); };
                world_.trace("  held by wire ", std::to_string(hold.wire), " on node ", std::to_string(hold.node), " from ", text(hold.opened), " acknowledged ", text(hold.acked),
                             " to ", text(hold.ended), hold.clean ? " clean" : " broken");
            }
            for (const auto& part : join ? there : it->second.covered) {
                world_.trace("  there from ", std::to_string(std::chrono::duration<double>(part.from.time_since_epoch()).count()), " to ",
                             std::to_string(std::chrono::duration<double>(part.to.time_since_epoch()).count()));
            }
            world_.violation((join ? "P3 a join of " : "P2 a leave of ") + told.user + " in " + told.channel + " told at " +
                             std::to_string(std::chrono::duration<double>(told.at.time_since_epoch()).count()) + " to wire " +
                             std::to_string(told.wire) + (join ? ", who was not there since the leave before" : ", who was there all the while"));
            return;
        }
        walks.insert_or_assign(key, Walk{std::max(*at, since) + (join ? 0ns : 1ns), !join});
    }
}

}  // namespace starling::sim

// The lives of this node in the partition, and those of the others: register, beat, give up what was given up, end the
// old ones; and who has been silent for a lease is reaped.

#include <algorithm>

#include "base/hash.h"
#include "engine/partition.h"
#include "engine/scripts.h"

namespace starling::engine {

void Partition::register_lease() {
    ++incarnation_;
    iid_ = settings_.node_id + "." + std::to_string(incarnation_);
    oseq_ = 0;
    digest_ = 0;
    state_ = State::registering;
    dirty_channels_.clear();
    for (auto& channel : channels_) {
        if (!channel) { continue; }
        if (channel->passing) { channel->passing->dirty.reset(); }
        for (Own& own : channel->own) {
            own.acked = false;
            mark(*channel, own.user.view());
        }
        channel->trim();
    }
    Flight flight{.kind = Flight::Kind::reg, .token = 0, .iid = iid_, .groups = {}, .args = {}, .sent = {}};
    flight.args = {iid_, settings_.address,
                   std::to_string(settings_.partitions) + "/" + std::to_string(settings_.heartbeat / 1ms) + "/" +
                       std::to_string(settings_.lease / 1ms) + "/" + std::to_string(settings_.linger / 1ms) + "/" +
                       std::to_string(settings_.wire_version)};
    send(std::move(flight));
}

// R9. In doubt, what this node held may have been given up by the others, rightly: only what is proven counts.
void Partition::new_incarnation(bool in_doubt) {
    if (!iid_.empty()) { old_.insert(iid_); }
    discontinuity();
    flight_.reset();
    state_ = State::none;
    bool any = false;
    for (auto& channel : channels_) {
        if (!channel) { continue; }
        std::vector<std::string> gone;
        for (Own& own : channel->own) {
            own.acked = false;
            if (in_doubt && own.lingering && !settings_.off.r9) { gone.emplace_back(own.user.view()); }
            any = any || own.held;
        }
        for (const auto& user : gone) { drop(*channel, user); }
    }
    if (in_doubt && any && !settings_.off.r9) {
        state_ = State::doubting;
        tell(domain::Doubt{index_});
        return;
    }
    pump();
}

void Partition::on_proven() {
    if (state_ != State::doubting) { return; }
    state_ = State::none;
    pump();
}

void Partition::on_lease_answer(Flight& flight, const codec::resp::Value& value) {
    const auto& words = value.elements;
    const std::string& status = words[0].text;
    const bool was_blind = !last_answer_ || now() - *last_answer_ > settings_.stale_after();
    const bool long_blind = last_answer_ && now() - *last_answer_ > settings_.lease;
    if (was_blind) { discontinuity(); }
    const Instant answered = last_answer_.value_or(now());
    // An answer is as old as its call: one that waited while this node slept says nothing of now.
    const bool late = now() - flight.sent > settings_.stale_after();
    last_answer_ = late ? std::max(answered, flight.sent) : now();
    consider_reach();
    if (status == "NOLEASE" || status == "OPGAP" || status == "FENCED") {
        if (status != "FENCED") { lost_data(answered); }
        new_incarnation(status == "FENCED" || long_blind);
        return;
    }
    if (flight.kind == Flight::Kind::reg) {
        state_ = State::live;
        if (!registered_) { heeds_until_ = now() + settings_.hold(); }
        registered_ = true;
        oseq_ = to_number(words[1].text);
        next_beat_ = now() + settings_.heartbeat;
    } else {
        ++oseq_;
        if (flight.kind == Flight::Kind::beat) { next_beat_ = std::max(flight.sent + settings_.heartbeat, now()); }
    }
    if (flight.kind == Flight::Kind::apply) { on_applied(flight, value); }
    const std::int64_t digest = to_number(words[2].text);
    // R9, R11: acknowledged writes of mine are gone, or never came.
    if (digest != digest_) {
        lost_data(answered);
        new_incarnation(long_blind);
        return;
    }
    if (flight.kind == Flight::Kind::apply) { return; }
    if (index_ == settings_.shard) { tell(domain::LeaseRenewed{}); }
    on_leases(words[5]);
    // A node of the first wire version does not say whether it changed members or a log.
    const bool told_apart = words.size() > 6 && std::none_of(leases_.begin(), leases_.end(), [](const auto& entry) {
        return entry.second.state != "dead" && entry.second.constants.ends_with("/1");
    });
    const std::int64_t counter = to_number(words[3].text);
    const std::int64_t of_members = words.size() > 6 ? to_number(words[6].text) : 0;
    const bool moved = counter != counter_seen_;
    const bool members_moved = of_members != members_seen_ || (moved && !told_apart);
    const bool logs_moved = counter - of_members != counter_seen_ - members_seen_ || (moved && !told_apart);
    counter_seen_ = counter;
    members_seen_ = of_members;
    // What changed may lie behind the place where the present round is: another one follows.
    if (members_moved) { members_looks_.owe(); }
    if (logs_moved || now() >= keep_alive_at_) { log_looks_.owe(); }
    look_around();
}

void Partition::on_leases(const codec::resp::Value& list) {
    const bool hole = !last_look_ || now() - *last_look_ > settings_.stale_after();
    // Who is new must fit to those who are there, not they to it.
    const bool first = !last_look_;
    const Instant before = last_look_.value_or(now());
    last_look_ = now();
    std::set<std::string> there;
    for (std::size_t i = 0; i + 4 < list.elements.size(); i += 5) {
        const std::string& iid = list.elements[i].text;
        there.insert(iid);
        heed(iid);
        Lease& lease = leases_[iid];
        const std::int64_t o = to_number(list.elements[i + 1].text);
        if (lease.o != -1 && o > lease.o) { lease.rose = before; }
        if (lease.o != o || hole || lease.state != list.elements[i + 2].text) {
            if (lease.o == -1 || lease.state != list.elements[i + 2].text) { peers_changed_ = true; }
            lease.o = o;
            lease.since = now();
        }
        lease.state = list.elements[i + 2].text;
        lease.address = list.elements[i + 3].text;
        lease.constants = list.elements[i + 4].text;
        if (node_of(iid) == settings_.node_id && iid != iid_) { old_.insert(iid); }
        const std::string_view constants = lease.constants;
        if (first && lease.state == "live" && to_number(constants.substr(0, constants.find('/'))) != settings_.partitions) {
            mismatch_ = "cluster.partitions is " + std::to_string(settings_.partitions) + ", node " +
                        std::string(node_of(iid)) + " at " + lease.address + " has " +
                        std::string(constants.substr(0, constants.find('/')));
        }
    }
    for (auto it = leases_.begin(); it != leases_.end();) {
        if (there.contains(it->first)) {
            ++it;
        } else {
            peers_changed_ = true;
            it = leases_.erase(it);
        }
    }
    reap_silent();
    end_old();
    ask_holders();
}

// An observer reaps with the o that it has seen unchanged for the lease, in its own reads and by its own clock.
void Partition::reap_silent() {
    if (now() < settled_at_ && !settings_.off.r8) { return; }   // R8: the others must be able to state first.
    for (auto& [iid, lease] : leases_) {
        if (lease.reaping || node_of(iid) == settings_.node_id) { continue; }
        const Duration limit = lease.state == "live"    ? settings_.lease
                               : lease.state == "drain" ? settings_.linger + 2 * settings_.heartbeat
                                                        : 2 * settings_.heartbeat;
        // Who is first is chance, so that not all of them try.
        const auto spread = static_cast<std::uint64_t>(settings_.heartbeat.count() / 2);
        const Duration chance{static_cast<std::int64_t>(hash64(iid, hash64(settings_.node_id, 3)) % spread)};
        if (now() - lease.since < limit + chance) { continue; }
        lease.reaping = true;
        reap(iid, lease.state == "dead" ? "" : std::to_string(lease.o));
    }
}

void Partition::end_old() {
    if (state_ != State::live || !dirty_channels_.empty() || flight_) { return; }
    if (now() < settled_at_ && !settings_.off.r8) { return; }
    for (const std::string& iid : old_) {
        Lease& lease = leases_[iid];
        if (lease.reaping) { continue; }
        lease.reaping = true;
        reap(iid, "");
    }
}

void Partition::reap(const std::string& iid, const std::string& expected) {
    Pending pending{.kind = Pending::Kind::reap, .wire = iid, .wires = {expected}, .looks = {}, .syncs = {}, .call = 0, .read = {}};
    eval(std::move(pending), scripts::reap(), {publish_command(), iid, expected, random_word(), random_word()});
}

std::vector<domain::Peers::Peer> Partition::peers() const {
    std::map<std::string, domain::Peers::Peer> nodes;
    nodes[settings_.node_id] = {settings_.node_id, settings_.address, retired_};
    for (const auto& [iid, lease] : leases_) {
        const std::string node(node_of(iid));
        if (lease.state == "dead" || node == settings_.node_id) { continue; }
        nodes[node] = {node, lease.address, lease.state == "drain"};
    }
    std::vector<domain::Peers::Peer> out;
    for (auto& [id, node] : nodes) { out.push_back(std::move(node)); }
    return out;
}

}  // namespace starling::engine

#include "engine/partition.h"

#include <algorithm>
#include <charconv>

#include "base/hash.h"
#include "engine/scripts.h"

namespace starling::engine {

namespace {

std::int64_t to_number(std::string_view text) {
    std::int64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace

Partition::Partition(const ClusterSettings& settings, Redis& redis, std::uint32_t index, std::string tag,
                     std::uint64_t seed)
    : settings_(settings), redis_(redis), index_(index), base_(settings.prefix + ":{" + tag + "}:"), rng_(seed) {}

void Partition::begin(Now now, Output& out) {
    now_ = now;
    out_ = &out;
    // R10: what was believed before a long sleep is in doubt before anything else happens.
    if (last_turn_ && now.instant - *last_turn_ > settings_.heartbeat && !settings_.off.r10) { discontinuity(); }
    last_turn_ = now.instant;
}

Token Partition::draw(Pending pending) {
    const Token token = (++serial_ << 12) | index_;
    pending_.emplace(token, std::move(pending));
    return token;
}

void Partition::eval(Pending pending, const Script& script, std::vector<std::string> args) {
    const Token token = draw(std::move(pending));
    redis_.eval(token, index_, script, {base_ + "n"}, std::move(args), now_, out_->actions);
}

void Partition::start() {
    last_answer_ = now();                    // Contact is owed from now on.
    next_beat_ = next_tick_ = now();
}

void Partition::discontinuity() {
    settled_at_ = now() + settings_.settle();
    for (auto& [wire, channel] : channels_) { channel->view.on_discontinuity(settings_, now()); }
    looks_owed_ = channels_.size();
}

// R7: what happens elsewhere may not have reached this node.
bool Partition::blind() const {
    if (state_ == State::ended) { return false; }
    return !up_ || state_ != State::live || !last_answer_ || now() - *last_answer_ > settings_.stale_after() || now() < settled_at_;
}

void Partition::on_up(const std::string& server) {
    up_ = true;
    if (!server_.empty() && server_ != server) {
        // R3: another run may hold other data, or none.
        for (auto& [wire, channel] : channels_) {
            channel->suspect = true;
            if (channel->state == Channel::State::live || channel->state == Channel::State::syncing) { sync(*channel); }
        }
    }
    server_ = server;
    discontinuity();
    if (flight_ && flight_->token == 0) { send(Flight(std::move(*flight_))); }
    pump();
    start_syncs();
}

void Partition::on_down() {
    up_ = false;
    discontinuity();
    consider_reach();
}

void Partition::consider_reach() {
    const bool reachable = state_ == State::ended || !last_answer_ || now() - *last_answer_ <= settings_.stale_after();
    if (reachable != reach_told_) {
        reach_told_ = reachable;
        tell(domain::Reach{index_, reachable});
    }
    if (reachable) { return; }
    // R13: new connections are served with what is known.
    for (const std::string& wire : std::exchange(stale_listens_, {})) {
        Channel* channel = find(wire);
        if (channel != nullptr && channel->listened && !channel->told) { tell_listening(*channel, true); }
    }
    for (const auto& [wire, user] : std::set<std::pair<std::string, std::string>>(owed_)) {
        Channel* channel = find(wire);
        const auto own = channel->own.find(user);
        if (own == channel->own.end()) { continue; }
        tell_entered(*channel, user, own->second);
    }
}

void Partition::register_lease() {
    ++incarnation_;
    iid_ = settings_.node_id + "." + std::to_string(incarnation_);
    oseq_ = 0;
    digest_ = 0;
    state_ = State::registering;
    dirty_channels_.clear();
    for (auto& [wire, channel] : channels_) {
        channel->dirty.clear();
        for (auto& [user, own] : channel->own) {
            own.acked = false;
            mark(*channel, user);
        }
    }
    Flight flight{.kind = Flight::Kind::reg, .token = 0, .wire = {}, .iid = iid_, .ops = {}, .args = {}, .sent = {}};
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
    for (auto& [wire, channel] : channels_) {
        std::vector<std::string> gone;
        for (auto& [user, own] : channel->own) {
            own.acked = false;
            if (in_doubt && own.lingering && !settings_.off.r9) { gone.push_back(user); }
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
    last_answer_ = now();
    consider_reach();
    if (status == "NOLEASE" || status == "OPGAP" || status == "FENCED") {
        new_incarnation(status == "FENCED" || long_blind);
        return;
    }
    if (flight.kind == Flight::Kind::reg) {
        state_ = State::live;
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
        new_incarnation(long_blind);
        return;
    }
    if (flight.kind == Flight::Kind::apply) { return; }
    on_leases(words[6]);
    const std::int64_t counter = to_number(words[3].text);
    if (counter != counter_seen_ || looks_owed_ > 0) {
        counter_seen_ = counter;
        look_around();
    }
}

void Partition::on_leases(const codec::resp::Value& list) {
    const bool hole = !last_look_ || now() - *last_look_ > settings_.stale_after();
    // Who is new must fit to those who are there, not they to it.
    const bool first = !last_look_;
    last_look_ = now();
    std::set<std::string> there;
    for (std::size_t i = 0; i + 4 < list.elements.size(); i += 5) {
        const std::string& iid = list.elements[i].text;
        there.insert(iid);
        Lease& lease = leases_[iid];
        const std::int64_t o = to_number(list.elements[i + 1].text);
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
    Pending pending{.kind = Pending::Kind::reap, .wire = iid, .wires = {expected}, .call = 0, .read = {}};
    eval(std::move(pending), scripts::reap(), {publish_command(), iid, expected, random_word(), random_word()});
}

void Partition::on_answer(Answered& answer) {
    if (flight_ && flight_->token == answer.token) {
        on_flight(answer);
        return;
    }
    const auto it = pending_.find(answer.token);
    if (it == pending_.end()) { return; }    // Of a flight given up.
    Pending pending = std::move(it->second);
    pending_.erase(it);
    auto* value = std::get_if<codec::resp::Value>(&answer.result);
    std::string reason;
    if (value == nullptr) {
        reason = std::get<CallFailed>(answer.result).reason;
    } else if (value->kind != codec::resp::Value::Kind::array) {
        reason = value->text;
        value = nullptr;
    }
    using Kind = Pending::Kind;
    const Error unavailable{ErrorCode::unavailable, "the engine is out of reach: " + reason};
    switch (pending.kind) {
        case Kind::snap:
        case Kind::page:
        case Kind::reach: {
            --syncing_;
            Channel* channel = find(pending.wire);
            if (channel != nullptr && channel->state == Channel::State::syncing && channel->sync == pending.call) {
                if (value == nullptr) {
                    sync(*channel);
                } else if (pending.kind == Kind::snap) {
                    on_snap(*channel, *value);
                } else if (pending.kind == Kind::page) {
                    on_page(*channel, *value);
                } else {
                    on_reach(*channel, *value);
                }
            }
            start_syncs();
            return;
        }
        case Kind::meta:
            if (value != nullptr) { on_meta(pending.wires, *value); }
            return;
        case Kind::reap: {
            const auto lease = leases_.find(pending.wire);
            const bool more = value != nullptr && value->elements[0].text == "MORE";
            if (more) {
                reap(pending.wire, pending.wires[0]);
                return;
            }
            if (value != nullptr && value->elements[0].text == "DONE") {
                old_.erase(pending.wire);
                if (lease != leases_.end()) {
                    leases_.erase(lease);
                    peers_changed_ = true;
                }
            } else if (lease != leases_.end()) {
                lease->second.reaping = false;   // Tried again at the next look.
            }
            return;
        }
        case Kind::publish: {
            domain::Published published{pending.call, std::unexpected(unavailable)};
            if (value != nullptr) {
                const auto& words = value->elements;
                codec::backend::PublishResult result{.message_id = words[1].text, .position = {}, .duplicate = false, .devices = {}};
                result.duplicate = words[0].integer == 1;
                if (!words[2].text.empty()) {
                    result.position = Position{words[2].text, static_cast<std::uint64_t>(to_number(words[3].text)), words[1].text};
                }
                published.result = std::move(result);
            }
            tell(std::move(published));
            return;
        }
        case Kind::read: {
            Channel* channel = find(pending.wire);
            if (channel == nullptr || !channel->reading || channel->read_id != pending.call) { return; }
            if (value != nullptr) {
                on_log(*channel, *value);
            } else {
                on_log_failed(*channel, reason);
            }
            return;
        }
        case Kind::page_read:
            if (value != nullptr) {
                on_page_read(pending, *value);
            } else {
                tell(domain::ReadAnswer{pending.call, std::unexpected(domain::ReadAnswer::Refused{.why = unavailable, .top = {}})});
            }
            return;
        case Kind::erase: {
            domain::Erased erased{pending.call, {}};
            if (value == nullptr) { erased.error = unavailable; }
            tell(std::move(erased));
            return;
        }
        case Kind::acknowledge: {
            domain::Acknowledged acknowledged{pending.call, 0, {}};
            if (value == nullptr) {
                acknowledged.error = unavailable;
            } else {
                acknowledged.newest = static_cast<std::uint64_t>(to_number(value->elements[0].text));
            }
            tell(std::move(acknowledged));
            return;
        }
    }
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

bool Partition::ended() const {
    if (state_ == State::ended) { return true; }
    return retired_ && last_answer_ && now() - *last_answer_ > settings_.lease;
}

std::optional<Instant> Partition::next_deadline() const {
    // A tick each half heartbeat, however busy the partition is: often enough for R10 and for everything that waits
    // without a time of its own.
    Instant next = next_tick_;
    if (up_ && state_ == State::live && !flight_) { next = std::min(next, next_beat_); }
    if (!lingers_.empty() && !blind()) { next = std::min(next, std::max(lingers_.begin()->first, now() + 1ms)); }
    // R13: what is held does not run out while this node cannot hear that it is stated anew.
    for (const auto& wire : blind() ? std::set<std::string>() : timed_views_) {
        const auto it = channels_.find(wire);
        if (it == channels_.end()) { continue; }
        if (const auto due = it->second->view.next_deadline()) { next = std::min(next, *due); }
    }
    return next;
}

void Partition::on_deadline() {
    if (now() >= next_tick_) { next_tick_ = now() + settings_.heartbeat / 2; }
    consider_reach();
    if (flight_ && flight_->token == 0) { send(Flight(std::move(*flight_))); }
    for (const auto& wire : blind() ? std::set<std::string>() : std::set<std::string>(timed_views_)) {
        Channel* channel = find(wire);
        if (channel == nullptr || !channel->view.next_deadline()) {
            timed_views_.erase(wire);
            continue;
        }
        domain::MembersChanged changes;
        channel->view.on_deadline(settings_, now(), changes);
        tell_members(*channel, std::move(changes));
    }
    run_out_lingers();
    // A chain that does not reach what its snapshot promised has lost something.
    for (const auto& wire : std::set<std::string>(catching_up_)) {
        Channel* channel = find(wire);
        if (channel == nullptr || !channel->must_reach) {
            catching_up_.erase(wire);
        } else if (now() - channel->since > settings_.stale_after()) {
            sync(*channel);
        }
    }
    start_syncs();
    pump();
    for (const auto& wire : std::exchange(idle_, {})) {
        if (Channel* channel = find(wire)) { want(*channel); }
    }
}

}  // namespace starling::engine

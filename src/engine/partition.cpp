#include "engine/partition.h"

#include <algorithm>

#include "engine/scripts.h"

namespace starling::engine {

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
    last_answer_ = began_ = now();           // Contact is owed from now on.
    next_beat_ = next_tick_ = now();
}

void Partition::discontinuity() {
    settled_at_ = now() + settings_.settle();
    for (auto& channel : channels_) {
        if (channel) { channel->view.on_discontinuity(settings_, now()); }
    }
    members_looks_.owe();
    log_looks_.owe();
    if (lost_until_) { lost_until_ = now() + settings_.hold(); }
}

// Views that came after the last good answer began with what was left.
void Partition::lost_data(Instant since) {
    if (settings_.off.r3) { return; }
    lost_since_ = since;
    lost_until_ = now() + settings_.hold();
    for (auto& channel : channels_) {
        if (channel) { channel->view.on_loss(lost_since_, *lost_until_); }
    }
}

// R3, too: who has just begun does not know whether Redis lost data a moment before, and a later incarnation is the sign of it
// that others give: nodes that hold whom it sees may not have said so again.
void Partition::heed(std::string_view iid) {
    if (!heeds_until_ || node_of(iid) == settings_.node_id || iid.ends_with(".1")) { return; }
    if (now() < *heeds_until_) { lost_data(began_); }
    heeds_until_.reset();
}

bool Partition::cut_off() const {
    if (state_ == State::ended) { return false; }
    return !up_ || state_ != State::live || !last_answer_ || now() - *last_answer_ > settings_.stale_after();
}

// R7: what happens elsewhere may not have reached this node, or not yet.
bool Partition::blind() const { return cut_off() || (state_ != State::ended && now() < settled_at_); }

void Partition::on_up(const std::string& server) {
    up_ = true;
    // R3: another run may hold other data, or none; and where this node began while Redis was out of reach, it cannot
    // know whether the others have found it again.
    if (server_.empty() ? !reach_told_ : server_ != server) {
        lost_data(last_answer_.value_or(now()));
        for (auto& channel : channels_) {
            if (!channel) { continue; }
            channel->suspect = true;
            if (channel->state == Channel::State::live || channel->state == Channel::State::syncing) { sync(*channel); }
        }
    }
    server_ = server;
    sync_pause_ = 0s;
    syncs_from_ = now();
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
        if (Own* own = channel->own.find(user)) { tell_entered(*channel, user, *own); }
    }
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
            --syncing_;
            on_snaps(pending, value);
            start_syncs();
            return;
        case Kind::page:
        case Kind::reach: {
            --syncing_;
            Channel* channel = find(pending.wire);
            if (channel != nullptr && channel->state == Channel::State::syncing && channel->sync_id() == pending.call) {
                if (value == nullptr) {
                    sync(*channel);
                    syncs_refused();
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
            --metas_;
            if (value != nullptr && !value->elements.empty()) {
                on_meta(pending, *value);
                return;
            }
            // Refused or lost: these were not looked at, and the counters need not move again.
            if (pending.looks.find_first_not_of('l') != std::string::npos) { members_looks_.owe(); }
            if (pending.looks.find_first_not_of('m') != std::string::npos) { log_looks_.owe(); }
            return;
        case Kind::holders: {
            Channel* channel = find(pending.wire);
            if (channel != nullptr && value != nullptr) { on_holders(*channel, pending.wires, *value); }
            return;
        }
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
            if (channel == nullptr || !channel->reads() || channel->need_reading().id != pending.call) { return; }
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

// What the views hold or doubt, and whose time is over.
void Partition::run_views() {
    while (!timed_views_.empty() && timed_views_.begin()->first <= now()) {
        Channel& channel = *channels_[timed_views_.begin()->second];
        domain::MembersChanged changes;
        channel.view.on_deadline(settings_, now(), changes);
        set_view_due(channel, channel.view.next_deadline().value_or(Instant::max()));
        tell_members(channel, std::move(changes));
    }
}

void Partition::set_view_due(Channel& channel, Instant at) {
    if (at == channel.peek().view_due) { return; }
    const std::uint32_t slot = *slot_of(channel.name());
    timed_views_.erase({channel.peek().view_due, slot});
    if (at != Instant::max()) { timed_views_.emplace(at, slot); }
    channel.passing.need().view_due = at;
    channel.trim();
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
    if (up_ && !to_sync_.empty() && syncing_ == 0) { next = std::min(next, syncs_from_); }
    if (!lingers_.empty() && !blind() && !flight_) { next = std::min(next, std::max(lingers_.begin()->first, now() + 1ms)); }
    // R13: what is held does not run out while this node cannot hear that it is stated anew.
    if (!timed_views_.empty() && !blind()) { next = std::min(next, timed_views_.begin()->first); }
    return next;
}

void Partition::on_deadline() {
    if (now() >= next_tick_) {
        next_tick_ = now() + settings_.heartbeat / 2;
        forget_kept();
    }
    consider_reach();
    if (flight_ && flight_->token == 0) { send(Flight(std::move(*flight_))); }
    if (!blind()) {
        run_views();
        if (lost_until_ && now() >= *lost_until_) { lost_until_.reset(); }
    }
    if (!up_ || state_ != State::live) { run_out_lingers(); }   // Else pump() does.
    // A chain that does not reach what its snapshot promised has lost something.
    for (const auto& wire : std::set<std::string>(catching_up_)) {
        Channel* channel = find(wire);
        if (channel == nullptr || !channel->must_reach()) {
            catching_up_.erase(wire);
        } else if (now() - channel->peek().since > settings_.stale_after()) {
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

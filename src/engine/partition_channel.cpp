// Listening to a channel: subscribe, take a snapshot, follow the chain, and look now and then whether it is whole.

#include <algorithm>

#include "engine/partition.h"
#include "engine/scripts.h"

namespace starling::engine {

namespace {

constexpr std::uint32_t kSyncsMax = 4;       // Calls for snapshots at once, of one partition ...
constexpr std::size_t kSyncChannelsMax = 32; // ... and the channels in one: those that wait while others are on their way.
constexpr std::size_t kBufferMax = 4096;     // Deltas that wait for a snapshot; then a later one is asked for.
constexpr std::size_t kLookMax = 64;         // Positions in one META.
constexpr std::size_t kLooksMax = 4;         // METAs in one heartbeat.

}  // namespace

Partition::Channel* Partition::find(const std::string& wire) {
    const auto it = channels_.find(wire);
    return it == channels_.end() ? nullptr : it->second.get();
}

Partition::Channel& Partition::channel(const std::string& wire, const domain::ChannelRef& ref) {
    auto& channel = channels_[wire];
    if (!channel) {
        channel = std::make_unique<Channel>();
        channel->wire = wire;
        channel->ref = ref;
    }
    return *channel;
}

void Partition::enter(Channel& channel, Channel::State state) {
    channel.state = state;
    channel.since = now();
}

void Partition::want(Channel& channel) {
    if (channel.wanted()) {
        if (channel.state != Channel::State::idle) { return; }
        enter(channel, Channel::State::subscribing);
        redis_.subscribe(index_, channel_key(channel.wire), now_, out_->actions);
        return;
    }
    if (!channel.reads_next.empty() || !channel.reads_asked.empty()) { return; }
    if (channel.state != Channel::State::idle) { redis_.unsubscribe(channel_key(channel.wire), now_, out_->actions); }
    dirty_channels_.erase(channel.wire);
    stale_listens_.erase(channel.wire);
    timed_views_.erase(channel.wire);
    catching_up_.erase(channel.wire);
    channels_.erase(std::string(channel.wire));
}

void Partition::on(domain::Listen& call, const std::string& wire) {
    Channel& channel = this->channel(wire, call.channel);
    channel.log = call.log;
    if (!channel.listened) { channel.told = channel.told_blind = false; }
    channel.listened = true;
    want(channel);
    if (channel.told) { return; }
    if (channel.state == Channel::State::live && (channel.chain || channel.log.size == 0)) {
        tell_listening(channel, false);
    } else {
        // It was listened to for its members alone; now its log matters, too.
        if (channel.state == Channel::State::live) { sync(channel); }
        if (reach_told_) {
            stale_listens_.insert(wire);
        } else {
            tell_listening(channel, true);
        }
    }
    start_syncs();
}

void Partition::on(domain::Unlisten&, const std::string& wire) {
    Channel* channel = find(wire);
    if (channel == nullptr) { return; }
    channel->listened = false;
    channel->chain.reset();
    channel->recent.clear();
    channel->early.clear();
    stale_listens_.erase(wire);
    want(*channel);
}

void Partition::on(domain::SignalTyping& call, const std::string& wire) {
    redis_.publish(index_, channel_key(wire), encode(TypingNote{settings_.node_id, call.user_id, call.active}), now_, out_->actions);
}

void Partition::tell_listening(Channel& channel, bool stale) {
    channel.told = true;
    channel.told_blind = stale && !channel.chain;
    stale_listens_.erase(channel.wire);
    tell(domain::Listening{channel.ref, channel.chain, stale});
    domain::MembersChanged members = channel.view.everything();
    tell_members(channel, std::move(members));
}

void Partition::tell_members(Channel& channel, domain::MembersChanged changes) {
    if (const auto due = channel.view.next_deadline()) {
        timed_views_.insert(channel.wire);
        views_due_ = std::min(views_due_, *due);
    }
    if (!channel.told || (changes.joins.empty() && changes.updates.empty() && changes.leaves.empty())) { return; }
    changes.channel = channel.ref;
    tell(std::move(changes));
}

void Partition::on_subscribed(const std::string& wire) {
    Channel* channel = find(wire);
    if (channel == nullptr) { return; }
    sync(*channel);
    start_syncs();
}

void Partition::on_missed(const std::string& wire) {
    Channel* channel = find(wire);
    if (channel == nullptr || channel->state == Channel::State::subscribing) { return; }
    enter(*channel, Channel::State::subscribing);
    channel->buffer.clear();
    channel->must_reach.reset();
    channel->paging.reset();
    channel->view.on_discontinuity(settings_, now());
}

// R1, R2: from here on deltas wait until a snapshot says where they belong.
void Partition::sync(Channel& channel) {
    if (channel.state == Channel::State::idle) { return; }
    channel.buffer.clear();                  // What came before is in a snapshot that is asked for after it.
    enter(channel, Channel::State::syncing);
    channel.sync = ++sync_serial_;
    channel.paging.reset();
    channel.must_reach.reset();
    channel.behind.reset();
    to_sync_.push_back(channel.wire);
}

void Partition::start_syncs() {
    while (up_ && syncing_ < kSyncsMax && !to_sync_.empty()) {
        Pending pending{.kind = Pending::Kind::snap, .wire = {}, .wires = {}, .syncs = {}, .call = 0, .read = {}};
        std::vector<std::string> args = {random_word(), std::to_string(settings_.snapshot_max)};
        while (!to_sync_.empty() && pending.syncs.size() < kSyncChannelsMax) {
            std::string wire = std::move(to_sync_.front());
            to_sync_.pop_front();
            Channel* channel = find(wire);
            if (channel == nullptr || channel->state != Channel::State::syncing) { continue; }
            // Asked for twice: once is enough.
            if (std::any_of(pending.syncs.begin(), pending.syncs.end(), [&](const auto& sync) { return sync.first == wire; })) { continue; }
            args.push_back(wire);
            args.push_back(std::to_string(channel->log.size));
            pending.syncs.emplace_back(std::move(wire), channel->sync);
        }
        if (pending.syncs.empty()) { return; }
        ++syncing_;
        eval(std::move(pending), scripts::snap(), std::move(args));
    }
}

void Partition::on_snaps(const Pending& pending, const codec::resp::Value* value) {
    for (std::size_t i = 0; i < pending.syncs.size(); ++i) {
        Channel* channel = find(pending.syncs[i].first);
        if (channel == nullptr || channel->state != Channel::State::syncing || channel->sync != pending.syncs[i].second) { continue; }
        const bool answered = value != nullptr && i < value->elements.size() && value->elements[i].elements.size() == 10;
        if (answered) {
            on_snap(*channel, value->elements[i]);
        } else {
            sync(*channel);
        }
    }
}

void Partition::on_snap(Channel& channel, const codec::resp::Value& value) {
    const auto& words = value.elements;
    Snapshot snapshot;
    snapshot.position = {words[0].text, static_cast<std::uint64_t>(to_number(words[1])), words[2].text};
    snapshot.digest = to_number(words[3]);
    if (channel.log.size > 0 && !words[4].text.empty()) {
        on_log_position(channel, {words[4].text, static_cast<std::uint64_t>(to_number(words[5])), words[6].text});
    }
    const auto count = static_cast<std::size_t>(to_number(words[8]));
    if (count > settings_.snapshot_max) {
        channel.paging = std::move(snapshot);
        ++syncing_;
        const Token token = draw({.kind = Pending::Kind::page, .wire = channel.wire, .wires = {}, .syncs = {}, .call = channel.sync, .read = {}});
        redis_.command(token, index_, {"HSCAN", base_ + "pd:" + channel.wire, "0", "COUNT", "1000"}, now_, out_->actions);
        return;
    }
    for (std::size_t i = 0; i + 1 < words[9].elements.size(); i += 2) {
        if (auto record = decode_record(words[9].elements[i + 1].text)) {
            snapshot.members.emplace(words[9].elements[i].text, std::move(*record));
        }
    }
    take_snapshot(channel, std::move(snapshot));
}

void Partition::on_page(Channel& channel, const codec::resp::Value& value) {
    if (!channel.paging || value.elements.size() != 2) { return; }
    const auto& words = value.elements[1].elements;
    for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
        if (auto record = decode_record(words[i + 1].text)) { channel.paging->members[words[i].text] = std::move(*record); }
    }
    ++syncing_;
    const std::string& cursor = value.elements[0].text;
    if (cursor == "0") {
        Pending pending{.kind = Pending::Kind::reach, .wire = channel.wire, .wires = {}, .syncs = {}, .call = channel.sync, .read = {}};
        eval(std::move(pending), scripts::meta(), {channel.wire});
        return;
    }
    const Token token = draw({.kind = Pending::Kind::page, .wire = channel.wire, .wires = {}, .syncs = {}, .call = channel.sync, .read = {}});
    redis_.command(token, index_, {"HSCAN", base_ + "pd:" + channel.wire, cursor, "COUNT", "1000"}, now_, out_->actions);
}

// The pages lie somewhere between the first position and this one: exact once the chain has reached it.
void Partition::on_reach(Channel& channel, const codec::resp::Value& value) {
    if (!channel.paging) { return; }
    Snapshot snapshot = std::move(*channel.paging);
    channel.paging.reset();
    if (value.elements.size() < 2 || value.elements[0].text != snapshot.position.epoch) {
        sync(channel);
        return;
    }
    channel.must_reach = ChainPosition{snapshot.position.epoch, static_cast<std::uint64_t>(to_number(value.elements[1])), {}};
    catching_up_.insert(channel.wire);
    take_snapshot(channel, std::move(snapshot));
}

void Partition::take_snapshot(Channel& channel, Snapshot snapshot) {
    if (channel.view.goes_back(snapshot.position)) { channel.suspect = true; }
    if (channel.suspect) { channel.view.on_discontinuity(settings_, now()); }
    snapshot.suspect = std::exchange(channel.suspect, false);
    domain::MembersChanged changes;
    channel.view.on_snapshot(std::move(snapshot), settings_, now(), changes);
    if (lost_until_) { channel.view.on_loss(lost_since_, *lost_until_); }
    tell_members(channel, std::move(changes));
    std::vector<Delta> buffer = std::exchange(channel.buffer, {});
    const std::uint64_t sync_id = channel.sync;
    for (Delta& delta : buffer) {
        on_delta(channel, delta);
        if (channel.sync != sync_id) { return; }   // It broke again.
    }
    try_live(channel);
}

void Partition::try_live(Channel& channel) {
    if (channel.state != Channel::State::syncing || channel.paging) { return; }
    if (channel.must_reach) {
        const auto& position = channel.view.position();
        if (position.epoch != channel.must_reach->epoch || position.version < channel.must_reach->version) { return; }
        channel.must_reach.reset();
        catching_up_.erase(channel.wire);
    }
    if (channel.listened && channel.log.size > 0 && !channel.chain) {
        sync(channel);                       // Its log matters since a moment ago.
        start_syncs();
        return;
    }
    enter(channel, Channel::State::live);
    if (channel.listened && !channel.told) { tell_listening(channel, false); }
    for (auto& [user, own] : channel.own) { tell_if_entered(channel, user, own); }
}

void Partition::on_delta(Channel& channel, Delta& delta) {
    domain::MembersChanged changes;
    const View::Step step = channel.view.on_delta(delta, settings_, now(), changes);
    if (step == View::Step::duplicate) { return; }
    if (step == View::Step::broken) {
        if (channel.view.goes_back({delta.epoch, delta.version, delta.tag})) { channel.suspect = true; }
        channel.view.on_discontinuity(settings_, now());
        sync(channel);
        start_syncs();
        return;
    }
    tell_members(channel, std::move(changes));
    const bool foreign = node_of(delta.iid) != settings_.node_id;
    const auto reaped = leases_.find(delta.iid);
    for (const Delta::Op& op : delta.ops) {
        if (op.kind == 'L') {
            const bool late = channel.timed_out.erase(op.user) > 0;
            if (!foreign) { ++(late ? leaves_.timeout : leaves_.clean); }
            if (foreign && reaped != leases_.end() && reaped->second.reaping) { ++leaves_.node_down; }
        }
        const auto it = channel.own.find(op.user);
        if (it == channel.own.end()) { continue; }
        Own& own = it->second;
        // R6: a user who says farewell elsewhere is not waited for here, unless the connection here broke after it.
        const std::pair<std::string, std::uint64_t> known{delta.epoch, op.record.version};
        if (foreign && own.lingering && op.kind == 'c' && own.lingers_since && own.lingers_since->first == known.first &&
            own.lingers_since->second <= known.second) {
            lingers_.erase({own.lingers_until, {channel.wire, op.user}});
            own.lingering = false;
            mark(channel, op.user);
        }
        tell_if_entered(channel, op.user, own);
    }
    if (channel.state == Channel::State::syncing) { try_live(channel); }
    pump();
}

void Partition::on_pushed(const std::string& wire, std::string_view payload) {
    Channel* channel = find(wire);
    if (channel == nullptr) { return; }
    auto decoded = decode_payload(payload);
    if (!decoded) { return; }                // Not ours: META finds what it may have been.
    if (auto* delta = std::get_if<Delta>(&*decoded)) {
        if (channel->state == Channel::State::subscribing) { return; }
        if (channel->state == Channel::State::syncing && !channel->must_reach) {
            channel->buffer.push_back(std::move(*delta));
            if (channel->buffer.size() > kBufferMax) { sync(*channel); }
        } else {
            on_delta(*channel, *delta);
        }
        return;
    }
    if (!channel->listened) { return; }
    if (auto* announcement = std::get_if<Announcement>(&*decoded)) {
        on_announcement(*channel, *announcement);
    } else if (auto* typing = std::get_if<TypingNote>(&*decoded)) {
        if (typing->node != settings_.node_id && channel->told) {
            tell(domain::TypingHeard{channel->ref, typing->user, typing->active});
        }
    } else if (auto* ack = std::get_if<AckNote>(&*decoded)) {
        tell(domain::AcknowledgedElsewhere{channel->ref, ack->offset, ack->except});
    } else if (auto* erase = std::get_if<EraseNote>(&*decoded)) {
        if (channel->chain && channel->chain->epoch != erase->epoch) { broken(*channel, Position{erase->epoch, 0, ""}); }
    }
}

void Partition::look_around() {
    if (settings_.off.r11) { return; }
    for (std::size_t i = 0; i < kLooksMax; ++i) {
        std::vector<std::string> wires;
        auto it = channels_.upper_bound(look_from_);
        for (; it != channels_.end() && wires.size() < kLookMax; ++it) {
            if (it->second->state == Channel::State::live) { wires.push_back(it->first); }
        }
        const bool round = it == channels_.end();
        look_from_ = round ? "" : wires.back();
        looks_owed_ = round ? 0 : looks_owed_ - std::min(looks_owed_, wires.size());
        if (!wires.empty()) {
            Pending pending{.kind = Pending::Kind::meta, .wire = {}, .wires = wires, .syncs = {}, .call = 0, .read = {}};
            eval(std::move(pending), scripts::meta(), wires);
        }
        if (round) { return; }
    }
}

void Partition::on_meta(const std::vector<std::string>& wires, const codec::resp::Value& value) {
    for (std::size_t i = 0; i < wires.size() && 6 * i + 5 < value.elements.size(); ++i) {
        Channel* channel = find(wires[i]);
        if (channel == nullptr || channel->state != Channel::State::live) { continue; }
        const auto* words = &value.elements[6 * i];
        const ChainPosition& position = channel->view.position();
        const auto version = static_cast<std::uint64_t>(to_number(words[1]));
        const bool same_epoch = words[0].text == position.epoch;
        const bool both_empty = words[0].text.empty() && channel->view.digest() == 0;
        // Deltas may be on their way still: what the chain has not reached a moment later is lost.
        const bool ahead = same_epoch && version > position.version;
        const bool wrong = same_epoch && version == position.version && to_number(words[2]) != channel->view.digest();
        const bool overdue = ahead && channel->behind && position.version < channel->behind->second &&
                             now() - channel->behind->first >= settings_.heartbeat / 2;
        // A position older than the chain is an answer that deltas have overtaken, or data that is gone.
        const bool differs = !same_epoch && !both_empty;
        const bool back = same_epoch && version < position.version;
        if (differs || back) {
            if (channel->behind && now() - channel->behind->first >= settings_.heartbeat / 2) {
                sync(*channel);
            } else if (!channel->behind) {
                channel->behind = {now(), UINT64_MAX};
                looks_owed_ = channels_.size();
            }
        } else if (wrong || overdue) {
            sync(*channel);
        } else if (ahead) {
            if (!channel->behind || position.version >= channel->behind->second) { channel->behind = {now(), version}; }
            looks_owed_ = channels_.size();
        } else {
            channel->behind.reset();
        }
        if (channel->chain && channel->log.size > 0) {
            const Position top{words[3].text, static_cast<std::uint64_t>(to_number(words[4])), words[5].text};
            if (top == *channel->chain) {
                channel->log_behind.reset();
            } else if (!channel->log_behind) {
                channel->log_behind = {now(), channel->chain->offset};
                looks_owed_ = channels_.size();
            } else if (channel->chain->offset == channel->log_behind->second) {
                read_log(*channel);          // The chain has not moved since.
            } else {
                channel->log_behind = {now(), channel->chain->offset};
            }
        }
    }
    start_syncs();
}

}  // namespace starling::engine

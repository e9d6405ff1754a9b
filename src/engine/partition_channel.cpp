// Listening to a channel: subscribe, take a snapshot, follow the chain.

#include <algorithm>

#include "base/hash.h"
#include "engine/partition.h"
#include "engine/scripts.h"

namespace starling::engine {

namespace {

constexpr std::uint32_t kSyncsMax = 4;       // Calls for snapshots at once, of one partition ...
constexpr std::size_t kSyncChannelsMax = 32; // ... and the channels in one: those that wait while others are on their way.
constexpr std::size_t kBufferMax = 4096;     // Deltas that wait for a snapshot; then a later one is asked for.

}  // namespace

std::optional<std::uint32_t> Partition::slot_of(std::string_view wire) const {
    return channel_index_.find(hash64(wire, hash_seed), [&](std::uint32_t slot) { return channels_[slot]->name() == wire; });
}

Partition::Channel* Partition::find(std::string_view wire) const {
    const auto slot = slot_of(wire);
    return slot ? channels_[*slot].get() : nullptr;
}

Partition::Channel& Partition::channel(const std::string& wire, const domain::ChannelRef& ref) {
    if (Channel* known = find(wire)) { return *known; }
    const std::uint32_t slot = channels_.take();
    channels_[slot] = std::make_unique<Channel>();
    Channel& made = *channels_[slot];
    made.key = SharedBytes(channel_key(wire));
    made.name_at = static_cast<std::uint16_t>(made.key.size() - wire.size());
    made.app = ref.app;
    channel_index_.insert(hash64(wire, hash_seed), slot);
    return made;
}

// What is over is given back.
void Partition::Channel::trim() {
    if (!passing) { return; }
    const auto clear = [](auto& names) {
        if (names.peek().empty()) { names.reset(); }
    };
    Passing& parts = *passing;
    if (state != State::syncing) { parts.syncing.reset(); }
    if (!peek_behind().chain && !peek_behind().log) { parts.behind.reset(); }
    clear(parts.dirty);
    clear(parts.timed_out);
    const Reading& read = parts.reading.peek();
    if (!read.under_way && !read.again && read.early.empty() && read.next.empty() && read.asked.empty()) { parts.reading.reset(); }
    if (state != State::syncing && !parts.behind && !parts.dirty && !parts.timed_out && !parts.reading && !parts.kept &&
        parts.view_due == Instant::max() && parts.recent.empty()) {
        passing.reset();
    }
}

// A few for all channels, by namespace; a reload adds some.
void Partition::set_log(Channel& channel, const domain::HistoryLimits& limits) {
    auto at = std::ranges::find(limits_, limits);
    if (at == limits_.end()) { at = limits_.insert(at, limits); }
    CHECK(at - limits_.begin() <= UINT16_MAX);
    channel.limits = static_cast<std::uint16_t>(at - limits_.begin());
}

void Partition::want(Channel& channel) {
    if (channel.wanted()) {
        if (channel.state != Channel::State::idle) { return; }
        channel.state = Channel::State::subscribing;
        redis_.subscribe(index_, channel.key, now_, out_->actions);
        return;
    }
    if (const auto& reading = channel.peek().reading.peek(); !reading.next.empty() || !reading.asked.empty()) { return; }
    if (channel.state != Channel::State::idle) { redis_.unsubscribe(channel.key.view(), now_, out_->actions); }
    dirty_channels_.erase(channel.wire());
    stale_listens_.erase(channel.wire());
    set_view_due(channel, Instant::max());
    catching_up_.erase(channel.wire());
    const std::uint32_t slot = *slot_of(channel.name());
    channel_index_.erase(hash64(channel.name(), hash_seed), slot);
    channels_[slot].reset();
    channels_.give_back(slot);
}

void Partition::on(domain::Listen& call, const std::string& wire) {
    Channel& channel = this->channel(wire, call.channel);
    set_log(channel, call.log);
    if (!channel.listened) { channel.told = channel.told_blind = false; }
    channel.listened = true;
    want(channel);
    if (channel.told) { return; }
    if (channel.state == Channel::State::live && (channel.chain || log_of(channel).size == 0)) {
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
    channel->chain = {};
    if (channel->passing) {
        channel->passing->recent = {};
        channel->passing->kept.reset();
        if (channel->peek_behind().log) { channel->passing->behind->log.reset(); }
        if (channel->passing->reading) { channel->need_reading().early.clear(); }
        channel->trim();
    }
    stale_listens_.erase(wire);
    want(*channel);
}

void Partition::on(domain::SignalTyping& call, const std::string& wire) {
    redis_.publish(index_, channel_key(wire), encode(TypingNote{settings_.node_id, call.user_id, call.active}), now_, out_->actions);
}

void Partition::tell_listening(Channel& channel, bool stale) {
    channel.told = true;
    channel.told_blind = stale && !channel.chain;
    stale_listens_.erase(channel.wire());
    tell(domain::Listening{channel.ref(), channel.chain.told(), stale});
    domain::MembersChanged members = channel.view.everything();
    tell_members(channel, std::move(members));
}

void Partition::tell_members(Channel& channel, domain::MembersChanged changes) {
    if (const auto due = channel.view.next_deadline(); due && *due < channel.peek().view_due) { set_view_due(channel, *due); }
    if (!channel.told || (changes.joins.empty() && changes.updates.empty() && changes.leaves.empty())) { return; }
    changes.channel = channel.ref();
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
    channel->state = Channel::State::subscribing;
    channel->trim();
    channel->view.on_discontinuity(settings_, now());
}

// R1, R2: from here on deltas wait until a snapshot says where they belong.
void Partition::sync(Channel& channel) {
    if (channel.state == Channel::State::idle) { return; }
    channel.state = Channel::State::syncing;
    Channel::Passing& passing = channel.passing.need();
    passing.syncing.reset();                 // What came before is in a snapshot that is asked for after it.
    passing.sync = ++sync_serial_;
    passing.since = now();
    if (passing.behind) { passing.behind->chain.reset(); }
    channel.trim();
    to_sync_.push_back(channel.wire());
}

// A Redis that is full, loading or busy refuses at once: asked again as soon as it had answered, it was asked some
// thousand times a second for each channel.
void Partition::syncs_refused() {
    sync_pause_ = std::clamp<Duration>(2 * sync_pause_, settings_.heartbeat / 20, settings_.heartbeat / 2);
    syncs_from_ = now() + sync_pause_;
}

void Partition::start_syncs() {
    while (up_ && now() >= syncs_from_ && syncing_ < kSyncsMax && !to_sync_.empty()) {
        Pending pending{.kind = Pending::Kind::snap, .wire = {}, .wires = {}, .looks = {}, .syncs = {}, .call = 0, .read = {}};
        std::vector<std::string> args = {random_word(), std::to_string(settings_.snapshot_max)};
        while (!to_sync_.empty() && pending.syncs.size() < kSyncChannelsMax) {
            std::string wire = std::move(to_sync_.front());
            to_sync_.pop_front();
            Channel* channel = find(wire);
            if (channel == nullptr || channel->state != Channel::State::syncing) { continue; }
            // Asked for twice: once is enough.
            if (std::any_of(pending.syncs.begin(), pending.syncs.end(), [&](const auto& sync) { return sync.first == wire; })) { continue; }
            args.push_back(wire);
            args.push_back(std::to_string(log_of(*channel).size));
            pending.syncs.emplace_back(std::move(wire), channel->sync_id());
        }
        if (pending.syncs.empty()) { return; }
        ++syncing_;
        eval(std::move(pending), scripts::snap(), std::move(args));
    }
}

void Partition::on_snaps(const Pending& pending, const codec::resp::Value* value) {
    if (value == nullptr) { syncs_refused(); } else { sync_pause_ = 0s; }
    for (std::size_t i = 0; i < pending.syncs.size(); ++i) {
        Channel* channel = find(pending.syncs[i].first);
        if (channel == nullptr || channel->state != Channel::State::syncing || channel->sync_id() != pending.syncs[i].second) { continue; }
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
    if (log_of(channel).size > 0 && !words[4].text.empty()) {
        on_log_position(channel, {words[4].text, static_cast<std::uint64_t>(to_number(words[5])), words[6].text});
    }
    const auto count = static_cast<std::size_t>(to_number(words[8]));
    if (count > settings_.snapshot_max) {
        channel.need_syncing().paging = std::move(snapshot);
        ++syncing_;
        const Token token = draw({.kind = Pending::Kind::page, .wire = channel.wire(), .wires = {}, .looks = {}, .syncs = {}, .call = channel.sync_id(), .read = {}});
        redis_.command(token, index_, {"HSCAN", base_ + "pd:" + channel.wire(), "0", "COUNT", "1000"}, now_, out_->actions);
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
    if (!channel.paging() || value.elements.size() != 2) { return; }
    const auto& words = value.elements[1].elements;
    for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
        if (auto record = decode_record(words[i + 1].text)) { channel.need_syncing().paging->members[words[i].text] = std::move(*record); }
    }
    ++syncing_;
    const std::string& cursor = value.elements[0].text;
    if (cursor == "0") {
        Pending pending{.kind = Pending::Kind::reach, .wire = channel.wire(), .wires = {}, .looks = {}, .syncs = {}, .call = channel.sync_id(), .read = {}};
        eval(std::move(pending), scripts::meta(), {"0", channel.wire(), "m"});
        return;
    }
    const Token token = draw({.kind = Pending::Kind::page, .wire = channel.wire(), .wires = {}, .looks = {}, .syncs = {}, .call = channel.sync_id(), .read = {}});
    redis_.command(token, index_, {"HSCAN", base_ + "pd:" + channel.wire(), cursor, "COUNT", "1000"}, now_, out_->actions);
}

// The pages lie somewhere between the first position and this one: exact once the chain has reached it.
void Partition::on_reach(Channel& channel, const codec::resp::Value& value) {
    if (!channel.paging()) { return; }
    Snapshot snapshot = std::move(*channel.need_syncing().paging);
    channel.need_syncing().paging.reset();
    FieldReader in(value.elements.empty() ? std::string_view{} : std::string_view(value.elements[0].text));
    const bool same_epoch = in.text() == snapshot.position.epoch;
    const auto version = static_cast<std::uint64_t>(to_number(in.text()));
    if (!in.ok() || !same_epoch) {
        sync(channel);
        return;
    }
    channel.need_syncing().must_reach = {snapshot.position.epoch, version};
    catching_up_.insert(channel.wire());
    take_snapshot(channel, std::move(snapshot));
}

void Partition::take_snapshot(Channel& channel, Snapshot snapshot) {
    if (channel.view.goes_back(snapshot.position)) { channel.suspect = true; }
    if (channel.suspect) { channel.view.on_discontinuity(settings_, now()); }
    snapshot.suspect = channel.suspect;
    channel.suspect = false;
    domain::MembersChanged changes;
    channel.view.on_snapshot(std::move(snapshot), settings_, now(), changes);
    if (!channel.view.unconfirmed(1).empty()) { unconfirmed_.insert(channel.wire()); }
    if (lost_until_) { channel.view.on_loss(lost_since_, *lost_until_); }
    if (channel.passing->timed_out) {        // Their removals were missed.
        std::erase_if(*channel.passing->timed_out, [&](const std::string& user) { return !channel.view.in_redis(user); });
    }
    tell_members(channel, std::move(changes));
    std::vector<Delta> buffer;
    if (!channel.peek().syncing.peek().buffer.empty()) { buffer.swap(channel.need_syncing().buffer); }
    const std::uint64_t sync_id = channel.sync_id();
    for (Delta& delta : buffer) {
        on_delta(channel, delta);
        if (channel.state == Channel::State::syncing && channel.sync_id() != sync_id) { return; }   // It broke again.
    }
    try_live(channel);
}

void Partition::try_live(Channel& channel) {
    if (channel.state != Channel::State::syncing || channel.paging()) { return; }
    if (channel.must_reach()) {
        const auto& [epoch, version] = *channel.must_reach();
        if (channel.view.epoch() != epoch || channel.view.version() < version) { return; }
        channel.need_syncing().must_reach.reset();
        catching_up_.erase(channel.wire());
    }
    if (channel.listened && log_of(channel).size > 0 && !channel.chain) {
        sync(channel);                       // Its log matters since a moment ago.
        start_syncs();
        return;
    }
    channel.state = Channel::State::live;
    channel.trim();
    if (channel.listened && !channel.told) { tell_listening(channel, false); }
    for (Own& own : channel.own) { tell_if_entered(channel, std::string(own.user.view()), own); }
}

bool Partition::end_timed_out(Channel& channel, const std::string& user) {
    const bool was = channel.passing && channel.passing->timed_out && channel.passing->timed_out->erase(user) > 0;
    if (was) { channel.trim(); }
    return was;
}

void Partition::on_delta(Channel& channel, Delta& delta) {
    heed(delta.iid);
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
            const bool late = end_timed_out(channel, op.user);
            if (!foreign) { ++(late ? leaves_.timeout : leaves_.clean); }
            if (foreign && reaped != leases_.end() && reaped->second.reaping) { ++leaves_.node_down; }
        }
        Own* found = channel.own.find(op.user);
        // Another node holds the user still, or this one again; an entry from before the removal may be heard of after it was sent.
        const bool again = (op.kind == '+' || op.kind == 'J') && found != nullptr && (found->wanted() || found->rare.peek().farewell);
        if (!foreign && (op.kind == '-' || again)) { end_timed_out(channel, op.user); }
        if (found == nullptr) { continue; }
        Own& own = *found;
        const auto& since = own.rare.peek().lingers_since;
        // R6: a user who says farewell elsewhere is not waited for here, unless the connection here broke after it.
        const std::pair<std::string, std::uint64_t> known{delta.epoch, op.record.version};
        if (foreign && own.lingering && op.kind == 'c' && since && since->first == known.first &&
            since->second <= known.second) {
            lingers_.erase({own.lingers_until, {channel.wire(), op.user}});
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
        if (channel->state == Channel::State::syncing && !channel->must_reach()) {
            channel->need_syncing().buffer.push_back(std::move(*delta));
            if (channel->need_syncing().buffer.size() > kBufferMax) { sync(*channel); }
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
            tell(domain::TypingHeard{channel->ref(), typing->user, typing->active});
        }
    } else if (auto* ack = std::get_if<AckNote>(&*decoded)) {
        tell(domain::AcknowledgedElsewhere{channel->ref(), ack->offset, ack->except});
    } else if (auto* erase = std::get_if<EraseNote>(&*decoded)) {
        if (channel->chain && channel->chain.epoch != erase->epoch) { broken(*channel, Position{erase->epoch, 0, ""}); }
    }
}

}  // namespace starling::engine

// The home of a channel: what the engine says of it, in its order, goes to every shard that listens.

#include "domain/state.h"

namespace starling::domain {

namespace {

// A channel that nothing needs any more is heard for this long: a page that is loaded anew, or a backend that
// reads presence again and again, costs no new snapshot.
constexpr Duration kKeepHearing = 10s;
// The latest of a conflated channel are kept for newcomers.
constexpr Duration kKeepConflated = 24h;

}  // namespace

HistoryLimits Shard::State::log_limits(const ChannelRef& ref) const {
    const NamespaceSettings& rules = space(ref);
    return {rules.conflate == 0s ? rules.history_size : 0, rules.history_ttl};
}

std::optional<std::uint32_t> Shard::State::find_home_slot(const ChannelRef& ref) const {
    return home_index.find(name_hash(ref.app, ref.name), [&](std::uint32_t slot) { return homes[slot]->ref == ref; });
}

HomeChannel* Shard::State::find_home(const ChannelRef& ref) {
    const auto found = find_home_slot(ref);
    return found ? homes[*found].get() : nullptr;
}

HomeChannel& Shard::State::home(const ChannelRef& ref) {
    if (const auto found = find_home_slot(ref)) { return *homes[*found]; }
    const std::uint32_t index = homes.take();
    homes[index] = std::make_unique<HomeChannel>();
    HomeChannel& channel = *homes[index];
    channel.ref = ref;
    channel.partition = partition_of(ref, settings->partitions);
    home_index.insert(name_hash(ref.app, ref.name), index);
    return channel;
}

void Shard::State::listen(HomeChannel& channel) {
    channel.leave_at = Instant::max();
    if (channel.hearing != Hearing::off) { return; }
    channel.hearing = Hearing::asked;
    channel.log = log_limits(channel.ref);
    tell_engine(Listen{channel.ref, channel.log});
}

void Shard::State::settle(HomeChannel& channel) {
    channel.trim();
    if (channel.view.due(now.instant)) { tell_presence(channel); }
    std::optional<Instant> next = channel.view.next_deadline();
    const auto consider = [&next](std::optional<Instant> other) {
        if (other && (!next || *other < *next)) { next = other; }
    };
    consider(channel.typing.next_deadline());
    consider(channel.conflation.next_deadline());
    const bool listened = channel.listeners.any();
    const bool needed = listened || channel.waited_for() || !channel.holders.empty();
    if (needed) {
        listen(channel);
    } else if (channel.hearing == Hearing::ready) {
        if (channel.leave_at == Instant::max()) {
            channel.leave_at = now.instant + kKeepHearing;
            if (!channel.conflation.empty()) {
                channel.leave_at = std::max(channel.leave_at, channel.conflation.last_publish() + kKeepConflated);
            }
        }
        if (now.instant >= channel.leave_at) {
            tell_engine(Unlisten{channel.ref});
            channel.hearing = Hearing::off;
            channel.stale = false;
            channel.top.set({}, last_epoch);
            channel.leave_at = Instant::max();
            channel.view = PresenceView{};
            channel.conflation = Conflation{};
            next = channel.typing.next_deadline();
        } else {
            consider(channel.leave_at);
        }
    }
    const std::uint32_t index = *find_home_slot(channel.ref);
    if (next && *next < channel.scheduled) {
        channel.scheduled = *next;
        deadlines.push({*next, Due::Kind::home, {index, 0}});
    }
    if (needed || channel.hearing != Hearing::off || !channel.passing.peek().lanes.empty() || !channel.typing.empty()) { return; }
    home_index.erase(name_hash(channel.ref.app, channel.ref.name), index);
    homes[index].reset();
    homes.give_back(index);
}

void Shard::State::on_home_deadline(HomeChannel& channel) {
    channel.scheduled = Instant::max();
    std::vector<TypingChange> changes;
    channel.typing.on_deadline(now.instant, changes);
    tell_typing(channel, changes);
    std::vector<Conflation::Item> items;
    channel.conflation.on_deadline(space(channel.ref).conflate, now.instant, items);
    tell_conflated(channel, items);
    settle(channel);
}

void Shard::State::deliver(HomeChannel& channel, DeliverMail mail_in) {
    mail_in.channel = channel.ref;
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (channel.listeners[shard]) { mail(shard, DeliverMail(mail_in)); }
    }
}

void Shard::State::tell_presence(HomeChannel& channel) {
    if (channel.listeners.none()) {
        channel.view.skip(now.instant, presence_limits());
        return;
    }
    const PresenceTold told = channel.view.tell(now.instant, presence_limits());
    const std::string& name = channel.ref.name;
    PresenceMail frames{.channel = channel.ref};
    frames.oldest = told.oldest;
    bool any = false;
    for (const auto& group : told.groups) {
        const auto& diff = group.diff;
        const bool changed = !diff.joins.empty() || !diff.updates.empty() || !diff.leaves.empty();
        frames.groups.push_back({group.since, changed ? shared(native::encode_presence(name, diff)) : SharedBytes()});
        any = any || changed;
    }
    if (told.count_to_lists) { frames.to_lists = shared(native::encode_presence_count(name, told.count)); }
    if (told.list) {
        frames.to_lists = shared(native::encode_presence_list(
            {}, name, {.count = told.count, .users = channel.view.members()}, stale(channel)));
    }
    if (told.count_to_counters) { frames.to_counters = shared(native::encode_presence_count(name, told.count)); }
    if (!any && !frames.to_lists && !frames.to_counters) { return; }
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (channel.listeners[shard]) { mail(shard, PresenceMail(frames)); }
    }
}

void Shard::State::tell_typing(HomeChannel& channel, const std::vector<TypingChange>& changes) {
    for (const auto& change : changes) {
        deliver(channel, {.text = shared(native::encode_typing(channel.ref.name, change.user_id, change.active)),
                          .except_user = change.user_id});
    }
}

// The session holds the user no longer; the last one here tells the engine.
void Shard::State::end_presence(HomeChannel& channel, const std::string& user, SessionRef session, Departure how) {
    if (channel.holders.remove(user, session)) { tell_engine(Exit{channel.ref, user, how}); }
    std::vector<TypingChange> changes;
    channel.typing.on_gone(user, session, changes);
    for (const auto& change : changes) { tell_engine(SignalTyping{channel.ref, change.user_id, false}); }
    tell_typing(channel, changes);
}

void Shard::State::on(ListenMail& listen_mail) {
    HomeChannel* channel = find_home(listen_mail.channel);
    if (channel == nullptr) { return; }
    channel->listeners[listen_mail.shard] = false;
    settle(*channel);
}

void Shard::State::on(Listening& event) {
    if (UserHome* user = find_user(event.channel)) { on_user_listening(*user, event); }
    HomeChannel* channel = find_home(event.channel);
    if (channel == nullptr || channel->hearing == Hearing::off) { return; }
    channel->top.set(event.top, last_epoch);
    channel->stale = event.stale;
    if (channel->hearing == Hearing::asked) {
        channel->hearing = Hearing::told;
        // The members follow in the same batch of events, so they are in when this mail comes.
        mail(self.index, ReadyMail{std::move(event.channel)});
    }
    settle(*channel);
}

void Shard::State::on(ReadyMail& ready) {
    HomeChannel* channel = find_home(ready.channel);
    if (channel == nullptr || channel->hearing != Hearing::told) { return; }
    channel->hearing = Hearing::ready;
    std::vector<SessionRef> waiting;
    for (const auto& [session, lane] : channel->passing.peek().lanes) {
        if (lane.join || lane.view_read) { waiting.push_back(session); }
    }
    for (const SessionRef session : waiting) {
        Lane* lane = channel->find_lane(session);
        if (lane == nullptr) { continue; }
        if (lane->join) {
            advance_join(*channel, *lane);
        } else if (lane->view_read) {
            reply_presence(*channel, *lane->view_read);
            lane->view_read.reset();
            lane->busy = false;
            --channel->passing->view_waits;
        }
        advance(*channel, session);
    }
    if (channel->passing) {
        for (const AskMail& asked : std::exchange(channel->passing->asks, {})) {
            AnswerMail answer{.token = asked.token, .reply = presence_reply(*channel, asked)};
            mail(asked.from, std::move(answer));
        }
    }
    settle(*channel);
}

void Shard::State::on(MembersChanged& event) {
    HomeChannel* channel = find_home(event.channel);
    if (channel == nullptr || channel->hearing == Hearing::off) { return; }
    std::vector<TypingChange> changes;
    for (const auto& user : event.leaves) { channel->typing.on_stop(user, changes); }
    tell_typing(*channel, changes);
    std::vector<std::string> joined;
    if (channel->passing.peek().view_waits > 0) {
        for (const auto& member : event.joins) { joined.push_back(member.user_id); }
    }
    channel->view.on_changed(event, now.instant);
    settle(*channel);
    for (const auto& user : joined) { advance_joins(*channel, user, false); }
    if (!joined.empty()) { settle(*channel); }
}

// The log is another one: every subscriber is told and subscribes afresh; presence lingers meanwhile. Those whose
// subscribe is still on its way get the new position.
void Shard::State::on(Broken& event) {
    if (UserHome* user = find_user(event.channel)) { on_user_broken(*user, event); }
    HomeChannel* channel = find_home(event.channel);
    if (channel == nullptr || channel->hearing == Hearing::off) { return; }
    channel->top.set(event.top, last_epoch);
    const SharedBytes text = shared(native::encode_unsubscribed({}, channel->ref.name, "unrecoverable",
                                                                "the log does not continue"));
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (channel->listeners[shard]) { mail(shard, EndAllMail{channel->ref, text}); }
    }
    std::vector<TypingChange> changes;
    for (const auto& user : channel->typing.users_except({})) { channel->typing.on_stop(user, changes); }
    for (const auto& [user, session] : channel->holders.all()) {
        const Lane* lane = channel->find_lane(session);
        if (lane != nullptr && lane->join) { continue; }
        end_presence(*channel, user, session, Departure::broken);
    }
    settle(*channel);
}

void Shard::State::on(TypingHeard& event) {
    HomeChannel* channel = find_home(event.channel);
    if (channel == nullptr || channel->hearing == Hearing::off) { return; }
    std::vector<TypingChange> changes;
    if (event.active) {
        channel->typing.on_heard(event.user_id, settings->typing_timeout, now.instant, changes);
    } else {
        channel->typing.on_stop(event.user_id, changes);
    }
    tell_typing(*channel, changes);
    settle(*channel);
}

void Shard::State::on(Reach& event) {
    if (event.partition >= unreachable.size()) { return; }
    unreachable[event.partition] = !event.reachable;
    if (!event.reachable) { return; }
    for (const auto& channel : homes) {
        if (channel && channel->partition == event.partition) { channel->stale = false; }
    }
    // Who connected meanwhile was told nothing of the log.
    for (UserHome& user : user_homes) {
        if (user.partition == event.partition && std::exchange(user.stale, false)) { renew(user); }
    }
}

}  // namespace starling::domain

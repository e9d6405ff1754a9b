// The order of one session's requests for one channel, and those of them that need no engine to be answered.

#include "domain/state.h"

namespace starling::domain {

namespace {

bool blocked(const Lane& lane, const LaneItem& item) {
    if (lane.busy) { return true; }
    return lane.publishes > 0 && !std::holds_alternative<PublishMail>(item);
}

}  // namespace

void Shard::State::take(HomeChannel& channel, SessionRef session, LaneItem item) {
    Lane* lane = channel.find_lane(session);
    if (lane != nullptr && (!lane->waiting.empty() || blocked(*lane, item))) {
        lane->waiting.push_back(std::move(item));
        return;
    }
    std::visit([&](auto& mail) { run(channel, mail); }, item);
    advance(channel, session);
}

void Shard::State::advance(HomeChannel& channel, SessionRef session) {
    Lane* lane = channel.find_lane(session);
    if (lane == nullptr) { return; }
    while (!lane->waiting.empty() && !blocked(*lane, lane->waiting.front())) {
        LaneItem item = std::move(lane->waiting.front());
        lane->waiting.erase(lane->waiting.begin());
        std::visit([&](auto& mail) { run(channel, mail); }, item);
    }
    if (lane->idle()) { channel.passing->lanes.erase(session); }
}

void Shard::State::done(HomeChannel& channel, SessionRef session) {
    Lane* lane = channel.find_lane(session);
    if (lane == nullptr) { return; }
    lane->busy = false;
    advance(channel, session);
}

// The session has ended: its subscribe is withdrawn, and nothing is answered any more. What it published before
// it went is published.
void Shard::State::drop_lane(HomeChannel& channel, UnsubscribeMail& leave) {
    Departure how = leave.ending.departure;
    if (Lane* lane = channel.find_lane(leave.session)) {
        if (lane->join || lane->view_read) { --channel.passing->view_waits; }
        std::vector<LaneItem> rest = std::move(lane->waiting);
        channel.passing->lanes.erase(leave.session);
        for (LaneItem& item : rest) {
            if (const auto* unsubscribe = std::get_if<UnsubscribeMail>(&item)) { how = unsubscribe->ending.departure; }
            if (auto* publication = std::get_if<PublishMail>(&item)) {
                publication->session.reset();
                run(channel, *publication);
            }
        }
    }
    end_presence(channel, leave.user_id, leave.session, how);
}

void Shard::State::run(HomeChannel& channel, UnsubscribeMail& leave) {
    PartedMail parted{.session = leave.session.id, .tag = leave.tag, .text = {}};
    if (leave.ending.told) {
        parted.text = shared(native::encode_unsubscribed(leave.ending.request, leave.channel.name, leave.ending.code,
                                                         leave.ending.reason));
    }
    // Before what the others hear: nothing of the channel comes after its `unsubscribed`.
    mail(leave.session.shard, std::move(parted));
    end_presence(channel, leave.user_id, leave.session, leave.ending.departure);
}

void Shard::State::run(HomeChannel& channel, TypingMail& typing) {
    std::vector<TypingChange> changes;
    if (typing.active) {
        if (channel.typing.on_start(typing.user_id, typing.session, settings->typing_timeout, now.instant, changes)) {
            tell_engine(SignalTyping{channel.ref, typing.user_id, true});
        }
    } else {
        channel.typing.on_stop(typing.user_id, changes);
        if (!changes.empty()) { tell_engine(SignalTyping{channel.ref, typing.user_id, false}); }
    }
    if (typing.session && typing.request) {
        mail(typing.session->shard, ReplyMail{typing.session->id, shared(native::encode_ok(typing.request))});
    }
    tell_typing(channel, changes);
}

void Shard::State::run(HomeChannel& channel, PresenceUpdateMail& update) {
    std::string text;
    if (!channel.holders.holds(update.user_id)) {
        text = native::encode_error(update.request, {ErrorCode::not_present, "channel: this connection is not present"},
                                    update.channel.name);
    } else {
        if (update.request) { text = native::encode_ok(update.request); }
        tell_engine(Update{channel.ref, update.user_id, std::move(update.data)});
    }
    if (!text.empty()) { mail(update.session.shard, ReplyMail{update.session.id, shared(text)}); }
}

void Shard::State::run(HomeChannel& channel, ReadMail& read) {
    if (!read.history) {
        if (channel.hearing == Hearing::ready) {
            reply_presence(channel, read);
            return;
        }
        Lane& lane = channel.lane(read.session);
        lane.busy = true;
        lane.view_read = std::make_unique<ReadMail>(std::move(read));
        ++channel.passing->view_waits;
        listen(channel);
        return;
    }
    const HistoryLimits log = log_limits(channel.ref);
    if (log.size == 0) {
        mail(read.session.shard,
             ReplyMail{read.session.id, shared(native::encode_history(read.request, channel.ref.name, {}, {})), true});
        return;
    }
    channel.lane(read.session).busy = true;
    Read call{.call = expect(channel.ref, HistoryCall{read.session, read.request}), .channel = channel.ref};
    call.since = std::move(read.history->since);
    call.limit = read.history->limit;
    call.reverse = read.history->reverse;
    call.bytes_max = settings->recover_bytes;
    call.log = log;
    tell_engine(std::move(call));
}

void Shard::State::reply_presence(HomeChannel& channel, ReadMail& read) {
    native::PresenceSummary summary{.count = channel.view.count(), .users = {}};
    if (channel.view.listed()) { summary.users = channel.view.members(); }
    mail(read.session.shard,
         ReplyMail{read.session.id,
                   shared(native::encode_presence_list(read.request, channel.ref.name, summary, stale(channel))), true});
}

void Shard::State::run(HomeChannel&, BounceMail& bounce) {
    mail(bounce.session.shard, ReplyMail{bounce.session.id, std::move(bounce.text)});
}

void Shard::State::on(SubscribeMail& join) {
    HomeChannel& channel = home(join.channel);
    const SessionRef session = join.session;
    take(channel, session, std::move(join));
    settle(channel);
}

void Shard::State::on(UnsubscribeMail& leave) {
    HomeChannel* channel = leave.gone ? find_home(leave.channel) : &home(leave.channel);
    if (channel == nullptr) { return; }
    const SessionRef session = leave.session;
    if (leave.gone) {
        drop_lane(*channel, leave);
    } else {
        take(*channel, session, std::move(leave));
    }
    settle(*channel);
}

void Shard::State::on(TypingMail& typing) {
    HomeChannel& channel = home(typing.channel);
    if (const auto session = typing.session) {
        take(channel, *session, std::move(typing));
    } else {
        run(channel, typing);
    }
    settle(channel);
}

void Shard::State::on(PresenceUpdateMail& update) {
    HomeChannel& channel = home(update.channel);
    const SessionRef session = update.session;
    take(channel, session, std::move(update));
    settle(channel);
}

void Shard::State::on(ReadMail& read) {
    HomeChannel& channel = home(read.channel);
    const SessionRef session = read.session;
    take(channel, session, std::move(read));
    settle(channel);
}

void Shard::State::on(BounceMail& bounce) {
    HomeChannel& channel = home(bounce.channel);
    const SessionRef session = bounce.session;
    take(channel, session, std::move(bounce));
    settle(channel);
}

}  // namespace starling::domain

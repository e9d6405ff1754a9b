// A subscribe at the channel's home: it waits for the chain, for its user's presence and for the log, and is
// answered at one point of the order of events, so that nothing is missing and nothing comes twice.
//
//   asked --Listening--> (present: --Entered-->) (recover: --ReadAnswer-->) subscribed

#include "domain/state.h"

namespace starling::domain {

void Shard::State::run(HomeChannel& channel, SubscribeMail& join) {
    Lane& lane = channel.lane(join.session);
    lane.busy = true;
    lane.join = std::make_unique<PendingJoin>();
    lane.join->mail = std::move(join);
    ++channel.passing->view_waits;
    listen(channel);
    SubscribeMail& mail = lane.join->mail;
    if (mail.present) {
        // A further session that brings data enters again, so that its own snapshot has them.
        if (channel.holders.add(mail.user_id, mail.session) || mail.data) {
            lane.join->entering = true;
            tell_engine(Enter{channel.ref, mail.user_id, std::move(mail.data), std::move(mail.fallback)});
        }
    }
    advance_join(channel, lane);
}

namespace {

// Who enters finds itself in its snapshot. A user who left and is back may be taken out once more by its own
// farewell, which was on its way; then it is waited for again.
bool in_snapshot(const HomeChannel& channel, const std::string& user) {
    return channel.holders.entered(user) && channel.view.contains(user);
}

}  // namespace

void Shard::State::advance_join(HomeChannel& channel, Lane& lane) {
    PendingJoin& join = *lane.join;
    if (channel.hearing != Hearing::ready || join.read != 0) { return; }
    if (join.entering) { return; }
    if (join.mail.present && !in_snapshot(channel, join.mail.user_id)) { return; }
    if (join.mail.recover && channel.log.size > 0) {
        join.read = expect(channel.ref, JoinCall{join.mail.session});
        Read call{.call = join.read, .channel = channel.ref, .recover = true, .since = join.mail.recover};
        call.messages_max = settings->recover_messages;
        call.bytes_max = settings->recover_bytes;
        call.log = channel.log;
        tell_engine(std::move(call));
        return;
    }
    complete_join(channel, lane, nullptr);
}

void Shard::State::complete_join(HomeChannel& channel, Lane& lane, ReadAnswer* answer) {
    const std::unique_ptr<PendingJoin> pending = std::move(lane.join);
    const SubscribeMail& join = pending->mail;
    lane.busy = false;
    --channel.passing->view_waits;
    native::Subscribed frame;
    frame.id = join.request;
    frame.channel = channel.ref.name;
    frame.stale = stale(channel);
    if (join.history && channel.log.size > 0) { frame.position = channel.top.told(); }
    if (join.recover) {
        frame.recovered = answer != nullptr && answer->result.has_value();
        if (*frame.recovered) {
            frame.messages = std::move(answer->result->messages);
            if (answer->result->top) { frame.position = std::move(answer->result->top); }
            ++counters.recoveries_true;
        } else {
            RecoverFailure why = RecoverFailure::gap;
            if (answer != nullptr) { why = std::get<RecoverFailure>(answer->result.error().why); }
            frame.reason = name(why);
            ++counters.recoveries_false;
        }
    }
    if (space(channel.ref).conflate > 0s) { frame.messages = channel.conflation.latest(); }
    JoinedMail joined{.session = join.session.id, .tag = join.tag, .watch = join.watch};
    if (join.watch == Watch::members) {
        joined.presence_point = channel.view.snapshot_point();
        native::PresenceSummary summary{.count = channel.view.give_count(), .users = {}};
        if (channel.view.listed()) { summary.users = channel.view.members(); }
        frame.presence = std::move(summary);
    } else if (join.watch == Watch::count) {
        frame.presence = native::PresenceSummary{.count = channel.view.give_count(), .users = {}};
    }
    frame.typing = channel.typing.users_except(join.user_id);
    if (join.told) { joined.text = shared(native::encode(frame)); }
    channel.listeners[join.session.shard] = true;
    mail(join.session.shard, std::move(joined));
}

void Shard::State::on(Entered& event) {
    HomeChannel* channel = find_home(event.channel);
    if (channel == nullptr) { return; }
    channel->holders.on_entered(event.user_id);
    advance_joins(*channel, event.user_id, true);
    settle(*channel);
}

void Shard::State::advance_joins(HomeChannel& channel, const std::string& user, bool entered) {
    if (channel.passing.peek().view_waits == 0) { return; }
    for (const SessionRef session : channel.holders.sessions_of(user)) {
        Lane* lane = channel.find_lane(session);
        if (lane == nullptr || !lane->join) { continue; }
        if (entered) { lane->join->entering = false; }
        advance_join(channel, *lane);
        advance(channel, session);
    }
}

void Shard::State::on_join_read(HomeChannel& channel, SessionRef session, ReadAnswer& answer) {
    Lane* found = channel.find_lane(session);
    // The session may have ended since, or subscribed anew.
    if (found == nullptr || !found->join || found->join->read != answer.call) { return; }
    Lane& lane = *found;
    const Error* error = answer.result ? nullptr : std::get_if<Error>(&answer.result.error().why);
    const SubscribeMail& asked = lane.join->mail;
    if (error == nullptr && asked.present && !in_snapshot(channel, asked.user_id)) {
        lane.join->read = 0;                 // Read again when it is: the log goes on meanwhile.
    } else if (error == nullptr) {
        complete_join(channel, lane, &answer);
    } else {
        const std::unique_ptr<PendingJoin> join = std::move(lane.join);
        lane.busy = false;
        --channel.passing->view_waits;
        const SubscribeMail& failed = join->mail;
        mail(session.shard, PartedMail{session.id, failed.tag,
                                       shared(native::encode_error(failed.request, *error, channel.ref.name))});
        // The user is still there and will come again: presence lingers.
        end_presence(channel, failed.user_id, session, Departure::broken);
    }
    advance(channel, session);
}

}  // namespace starling::domain

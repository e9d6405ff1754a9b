// Subscriptions on the session's side: with which rights they begin, and how they end.

#include "domain/state.h"

namespace starling::domain {

bool Shard::State::check_channel_token(Session& session, native::RequestId request, const native::Subscribe& command,
                                       ChannelGrant& grant) {
    auto claims = codec::jwt::verify(*command.token, settings->apps[session.app].token_keys, now.wall_ms,
                                     {.user_bytes = settings->wire.user_bytes,
                                      .info_bytes = settings->wire.presence_bytes});
    std::optional<Error> error;
    if (!claims) {
        error = claims.error();
    } else if (!claims->channel) {
        error = Error{ErrorCode::unauthenticated, "token: is no channel token"};
    } else if (claims->sub != session.user.view()) {
        error = Error{ErrorCode::forbidden, "token: is for another user"};
    } else if (*claims->channel != command.channel) {
        error = Error{ErrorCode::forbidden, "token: is for another channel"};
    }
    if (error) {
        fail(session, request, error->code, error->message, command.channel);
        return false;
    }
    grant.rights = parse_rights(claims->channel_can);
    grant.expires_ms = claims->exp_ms.value_or(0);
    return true;
}

void Shard::State::subscribe(Session& session, native::Request& request, native::Subscribe& command,
                             Waiting* waiting) {
    const std::string channel = command.channel;
    if (find_subscription(session, channel) != nullptr) {
        fail(session, request.id, ErrorCode::already_subscribed, "channel: is subscribed already", channel);
        return;
    }
    if (session.subscriptions.size() >= settings->channels_per_connection) {
        fail(session, request.id, ErrorCode::limit_exceeded,
             "channel: channels_per_connection is " + std::to_string(settings->channels_per_connection), channel);
        return;
    }
    ChannelGrant grant{.channel = channel};
    if (command.token) {
        if (!check_channel_token(session, request.id, command, grant)) { return; }
        ChannelGrant while_asking = grant;   // `require` sees it like any other grant.
        if (while_asking.expires_ms == 0) { while_asking.expires_ms = now.wall_ms + kAnswerHolds / 1ms; }
        // A subscribe that fails leaves its grant behind; the next one clears what is over or the same.
        std::erase_if(session.more.need().channel_grants, [&](const ChannelGrant& held) {
            return held.expires_ms <= now.wall_ms || (held.channel == channel && held.rights == grant.rights);
        });
        session.more.need().channel_grants.push_back(std::move(while_asking));
    }
    if (require(session, channel, Right::subscribe, request, waiting) != Permission::granted) { return; }
    // Asking for presence needs the right as a whole; not asking shows it where the right is there.
    const bool asks = command.present || (command.watch && *command.watch != Watch::none);
    if (asks && require(session, channel, Right::presence, request, waiting) != Permission::granted) { return; }
    if (command.recover && require(session, channel, Right::history, request, waiting) != Permission::granted) {
        return;
    }
    const Rights allowed = rights(session, channel);
    // The application's answers hold as long as the subscription from here on.
    for (const auto& held : session.more.peek().channel_grants) {
        if (held.channel == channel && held.expires_ms > now.wall_ms) { grant.rights |= held.rights; }
    }
    if (!session.more.peek().channel_grants.empty()) {
        std::erase_if(session.more.need().channel_grants, [&](const ChannelGrant& held) { return held.channel == channel; });
    }

    const ChannelRef ref{session.app, channel};
    Subscription subscription{.tag = ++tags, .hub = hub_channel(ref), .present = command.present};
    subscription.granted = grant.rights;
    ++hub[subscription.hub].references;
    if (grant.expires_ms != 0) {
        session.ends_ms.need()[subscription.tag] = grant.expires_ms;
        wake_session(session, now.instant + (grant.expires_ms - now.wall_ms) * 1ms);
    }
    SubscribeMail join{.session = ref_of(session), .tag = subscription.tag, .channel = ref};
    join.user_id = session.user_id();
    join.request = request.id;
    join.told = request.id.has_value();
    join.history = has(allowed, Right::history);
    join.present = command.present;
    join.data = std::move(command.presence_data);
    join.fallback = waiting != nullptr && waiting->data ? waiting->data : session.more.peek().info;
    join.watch = has(allowed, Right::presence) ? command.watch.value_or(Watch::members) : Watch::none;
    join.recover = std::move(command.recover);
    subscription.sees = join.watch != Watch::none;
    session.subscriptions.push_back(subscription);
    ++session.more.need().joins;
    mail(home_of(ref), std::move(join));
}

void Shard::State::subscribe_by_server(Session& session, const std::string& channel, bool present,
                                       std::optional<std::string> data, Rights granted) {
    std::optional<Error> error = native::check_channel(channel, settings->wire.channel_bytes, "channel");
    // protocol.md section 10: nothing gives a native client a right in `#*`.
    if (!error && channel.starts_with('#')) { error = Error{ErrorCode::forbidden, "channel: is Pusher's alone"}; }
    if (!error && find_subscription(session, channel) != nullptr) {
        error = Error{ErrorCode::already_subscribed, "channel: is subscribed already"};
    }
    if (!error && session.subscriptions.size() >= settings->channels_per_connection) {
        error = Error{ErrorCode::limit_exceeded,
                      "channel: channels_per_connection is " + std::to_string(settings->channels_per_connection)};
    }
    if (error) {
        reply(id_of(session), native::encode_error({}, *error, channel));
        return;
    }
    const ChannelRef ref{session.app, channel};
    if (present) { granted |= static_cast<Rights>(Right::presence); }
    Subscription subscription{.tag = ++tags, .hub = hub_channel(ref), .present = present};
    subscription.granted = granted;
    ++hub[subscription.hub].references;
    session.subscriptions.push_back(subscription);
    ++session.more.need().joins;
    const Rights allowed = rights(session, channel);
    SubscribeMail join{.session = ref_of(session), .tag = subscription.tag, .channel = ref};
    join.user_id = session.user_id();
    join.history = has(allowed, Right::history);
    join.present = present;
    join.data = std::move(data);
    join.fallback = session.more.peek().info;
    join.watch = present ? Watch::members : Watch::none;
    mail(home_of(ref), std::move(join));
}

void Shard::State::unsubscribe(Session& session, Subscription& subscription, Ending ending) {
    subscription.status = Subscription::Status::leaving;
    const ChannelRef ref = hub[subscription.hub].ref();
    mail(home_of(ref), UnsubscribeMail{.session = ref_of(session),
                                       .tag = subscription.tag,
                                       .channel = ref,
                                       .user_id = session.user_id(),
                                       .gone = false,
                                       .ending = std::move(ending)});
}

void Shard::State::recheck(Session& session) {
    for (auto& subscription : session.subscriptions) {
        if (subscription.status == Subscription::Status::leaving) { continue; }
        const std::int64_t end = session.expires_ms(subscription);
        if (end != 0 && end <= now.wall_ms) {
            subscription.granted = 0;
            session.forget_end(subscription.tag);
        }
        const Rights allowed = rights(session, hub[subscription.hub].name.view());
        const bool presence = subscription.present || subscription.sees;
        if (has(allowed, Right::subscribe) && (!presence || has(allowed, Right::presence))) { continue; }
        unsubscribe(session, subscription,
                    {.departure = Departure::clean, .told = true, .request = {}, .code = "forbidden",
                     .reason = "the right is gone"});
    }
}

}  // namespace starling::domain

// What a connected client asks for: may it, and if so, off to the channel's home.

#include "codec/json.h"
#include "domain/state.h"

namespace starling::domain {

namespace {

constexpr std::uint32_t kStrikes = 100;      // Refused frames within 10 s: 4007.
constexpr std::uint32_t kBadFrames = 10;     // Bad frames within 10 s: 4000.
constexpr std::size_t kWaitingMax = 100;     // Commands behind one question to the application.
constexpr Duration kAnswerHolds = 10s;

std::string_view action(Right right) {
    switch (right) {
        case Right::subscribe: return "subscribe";
        case Right::publish: return "publish";
        case Right::presence: return "presence";
        case Right::typing: return "typing";
        case Right::history: return "history";
    }
    return "subscribe";
}

std::string_view channel_of(const native::Command& command) {
    return std::visit(
        [](const auto& value) -> std::string_view {
            if constexpr (requires { value.channel; }) {
                return value.channel;
            } else {
                return {};
            }
        },
        command);
}

}  // namespace

void Shard::on_text(SessionId id, std::string_view text, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    Session* session = s.find(id);
    if (session == nullptr) { return; }
    ++s.counters.received;
    const Settings& settings = *s.settings;
    const bool allowed = session->bucket.try_take(settings.frames_per_second, settings.frames_burst, now.instant);
    auto request = native::decode(text, settings.wire);
    if (!allowed) {
        const std::string limit = "frames_per_second: the limit is " +
                                  std::to_string(static_cast<long>(settings.frames_per_second)) + " with frames_burst " +
                                  std::to_string(static_cast<long>(settings.frames_burst));
        s.reply(id, native::encode_error(request ? request->id : request.error().id,
                                         {ErrorCode::rate_limited, limit}));
        if (session->refused.add(now.instant) >= kStrikes) { s.close(*session, close_code::rate_limited, limit); }
        return;
    }
    const bool before = session->state != Session::State::open;
    if (!request) {
        const auto& bad = request.error();
        const std::string frame = native::encode_error(bad.id, bad.error, bad.channel.value_or(""));
        if (bad.channel && !before) {
            s.mail(s.home_of({session->app, *bad.channel}), BounceMail{{session->app, *bad.channel}, s.ref_of(*session), shared(frame)});
        } else {
            s.reply(id, frame);
        }
        if (bad.error.code != ErrorCode::bad_request && !before) { return; }
        if (before || session->bad.add(now.instant) >= kBadFrames) {
            s.close(*session, close_code::protocol_error, bad.error.message);
        }
        return;
    }
    if (auto* connect = std::get_if<native::Connect>(&request->command)) {
        if (session->state == Session::State::fresh) {
            s.connect(*session, request->id, std::move(*connect));
            return;
        }
        s.reply(id, native::encode_error(request->id, {ErrorCode::bad_request, "type: a second connect"}));
        if (before || session->bad.add(now.instant) >= kBadFrames) {
            s.close(*session, close_code::protocol_error, "a second connect");
        }
        return;
    }
    if (before) {
        s.refuse(*session, {ErrorCode::bad_request, "type: the first frame is connect"}, close_code::protocol_error,
                 request->id);
        return;
    }
    s.on_request(*session, std::move(*request));
}

void Shard::on_refused(SessionId id, Error error, std::uint16_t code, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    if (Session* session = s.find(id)) { s.refuse(*session, error, code); }
}

// The place of a command: behind those for the same channel that wait for the application.
void Shard::State::on_request(Session& session, native::Request request) {
    const std::string_view channel = channel_of(request.command);
    if (!channel.empty()) {
        for (auto& waiting : session.waiting) {
            if (waiting.channel != channel) { continue; }
            if (waiting.queue.size() >= kWaitingMax) {
                reply(id_of(session), native::encode_error(request.id,
                                                           {ErrorCode::rate_limited,
                                                            "channel: " + std::to_string(kWaitingMax) +
                                                                " requests wait for its permission"},
                                                           channel));
                return;
            }
            waiting.queue.push_back(std::move(request));
            return;
        }
    }
    run(session, std::move(request), nullptr);
}

void Shard::State::fail(Session& session, native::RequestId request, ErrorCode code, std::string message,
                        std::string_view channel) {
    ChannelRef ref{session.app, std::string(channel)};
    const std::uint32_t target = home_of(ref);
    mail(target, BounceMail{std::move(ref), ref_of(session),
                            shared(native::encode_error(request, {code, std::move(message)}, channel))});
}

Rights Shard::State::rights(const Session& session, std::string_view channel) const {
    Rights granted = 0;
    for (const auto& subscription : session.subscriptions) {
        if (subscription.status != Subscription::Status::leaving && hub[subscription.hub].ref.name == channel) {
            granted |= subscription.granted;
        }
    }
    for (const auto& grant : session.channel_grants) {
        if (grant.channel == channel && grant.expires_ms > now.wall_ms) { granted |= grant.rights; }
    }
    return effective(settings->apps[session.app].find_namespace(channel), session.grants, granted, channel);
}

Shard::State::Permission Shard::State::require(Session& session, std::string_view channel, Right right,
                                               native::Request& request, Waiting* waiting) {
    if (has(rights(session, channel), right)) { return Permission::granted; }
    const NamespaceSettings& rules = settings->apps[session.app].find_namespace(channel);
    const bool denied = waiting != nullptr && has(waiting->denied, right);
    if (rules.authorize_url.empty() || denied || channel.starts_with("#")) {
        fail(session, request.id, ErrorCode::forbidden,
             "channel: no right to " + std::string(action(right)) + " here", channel);
        return Permission::refused;
    }
    AuthorizeRequest ask{.session = id_of(session), .ticket = ++tickets, .url = rules.authorize_url, .body = "{\"userId\":"};
    codec::json::append_string(ask.body, session.user_id);
    ask.body += ",\"connectionId\":";
    codec::json::append_string(ask.body, connection_id(ref_of(session)));
    ask.body += ",\"channel\":";
    codec::json::append_string(ask.body, channel);
    ask.body += ",\"action\":\"" + std::string(action(right)) + "\"}";
    if (waiting == nullptr) {
        session.waiting.push_back({.channel = std::string(channel)});
        waiting = &session.waiting.back();
    }
    waiting->ticket = ask.ticket;
    waiting->asked = right;
    waiting->queue.push_front(std::move(request));
    out->push_back(std::move(ask));
    return Permission::asked;
}

void Shard::on_authorized(SessionId id, std::uint64_t ticket, bool allow, std::optional<std::string> data, Now now,
                          Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    Session* session = s.find(id);
    if (session == nullptr) { return; }
    auto& list = session->waiting;
    const auto it = std::find_if(list.begin(), list.end(), [&](const Waiting& w) { return w.ticket == ticket; });
    if (it == list.end()) { return; }
    Waiting waiting = std::move(*it);
    list.erase(it);
    if (allow) {
        std::erase_if(session->channel_grants,
                      [&](const ChannelGrant& grant) { return grant.expires_ms <= now.wall_ms; });
        session->channel_grants.push_back({waiting.channel, static_cast<Rights>(waiting.asked),
                                           now.wall_ms + kAnswerHolds / 1ms});
        if (data) { waiting.data = std::move(data); }
    } else {
        waiting.denied |= static_cast<Rights>(waiting.asked);
    }
    waiting.ticket = 0;
    while (!waiting.queue.empty()) {
        native::Request request = std::move(waiting.queue.front());
        waiting.queue.pop_front();
        s.run(*session, std::move(request), &waiting);
        if (waiting.ticket != 0) {           // The command asked again: the rest goes on waiting.
            session->waiting.push_back(std::move(waiting));
            return;
        }
        waiting.denied = 0;
        waiting.data.reset();
    }
}

Subscription* Shard::State::find_subscription(Session& session, std::string_view channel) {
    for (auto& subscription : session.subscriptions) {
        if (subscription.status != Subscription::Status::leaving && hub[subscription.hub].ref.name == channel) {
            return &subscription;
        }
    }
    return nullptr;
}

void Shard::State::run(Session& session, native::Request request, Waiting* waiting) {
    const SessionId id = id_of(session);
    const SessionRef ref = ref_of(session);
    const native::RequestId request_id = request.id;
    if (std::holds_alternative<native::Ping>(request.command)) {
        reply(id, native::encode_pong(request_id));
        return;
    }
    if (auto* command = std::get_if<native::Refresh>(&request.command)) {
        refresh(session, request_id, *command);
        return;
    }
    if (auto* command = std::get_if<native::NotificationAck>(&request.command)) {
        mail(home_of_user(session.app, session.user_id),
             AckMail{ref, session.app, session.user_id, command->offset, request_id});
        return;
    }
    const ChannelRef channel{session.app, std::string(channel_of(request.command))};
    const std::uint32_t target = home_of(channel);
    Subscription* subscription = find_subscription(session, channel.name);
    if (auto* command = std::get_if<native::Subscribe>(&request.command)) {
        subscribe(session, request, *command, waiting);
        return;
    }
    if (std::holds_alternative<native::Unsubscribe>(request.command)) {
        if (subscription == nullptr) {
            fail(session, request_id, ErrorCode::not_subscribed, "channel: is not subscribed", channel.name);
            return;
        }
        unsubscribe(session, *subscription,
                    {.departure = Departure::clean, .told = request_id.has_value(), .request = request_id});
        return;
    }
    if (auto* command = std::get_if<native::Publish>(&request.command)) {
        if (require(session, channel.name, Right::publish, request, waiting) != Permission::granted) { return; }
        PublishMail publish_mail{.channel = channel, .session = ref, .request = request_id};
        publish_mail.key_owner = session.user_id;
        publish_mail.message = {.id = message_id(),
                                .event = std::move(command->event),
                                .data = std::move(command->data),
                                .user_id = session.user_id,
                                .conflate_key = std::move(command->conflate_key),
                                .time = now.wall_ms};
        publish_mail.key = std::move(command->key);
        if (!command->echo) { publish_mail.except = connection_id(ref); }
        mail(target, std::move(publish_mail));
        return;
    }
    if (auto* command = std::get_if<native::Typing>(&request.command)) {
        if (subscription == nullptr) {
            fail(session, request_id, ErrorCode::not_subscribed, "channel: is not subscribed", channel.name);
            return;
        }
        if (require(session, channel.name, Right::typing, request, waiting) != Permission::granted) { return; }
        mail(target, TypingMail{channel, ref, session.user_id, command->active, request_id});
        return;
    }
    if (auto* command = std::get_if<native::PresenceUpdate>(&request.command)) {
        if (subscription == nullptr || !subscription->present) {
            fail(session, request_id, ErrorCode::not_present, "channel: this connection is not present", channel.name);
            return;
        }
        mail(target, PresenceUpdateMail{channel, ref, session.user_id, std::move(command->data), request_id});
        return;
    }
    if (std::holds_alternative<native::PresenceGet>(request.command)) {
        if (require(session, channel.name, Right::presence, request, waiting) != Permission::granted) { return; }
        mail(target, ReadMail{channel, ref, request_id, {}});
        return;
    }
    if (auto* command = std::get_if<native::HistoryGet>(&request.command)) {
        if (require(session, channel.name, Right::history, request, waiting) != Permission::granted) { return; }
        mail(target, ReadMail{channel, ref, request_id, std::move(*command)});
    }
}

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
    } else if (claims->sub != session.user_id) {
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
        std::erase_if(session.channel_grants, [&](const ChannelGrant& held) {
            return held.expires_ms <= now.wall_ms || (held.channel == channel && held.rights == grant.rights);
        });
        session.channel_grants.push_back(std::move(while_asking));
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
    for (const auto& held : session.channel_grants) {
        if (held.channel == channel && held.expires_ms > now.wall_ms) { grant.rights |= held.rights; }
    }
    std::erase_if(session.channel_grants, [&](const ChannelGrant& held) { return held.channel == channel; });

    const ChannelRef ref{session.app, channel};
    Subscription subscription{.tag = ++tags, .hub = hub_channel(ref), .present = command.present};
    subscription.granted = grant.rights;
    subscription.expires_ms = grant.expires_ms;
    ++hub[subscription.hub].references;
    if (subscription.expires_ms != 0) {
        wake_session(session, now.instant + (subscription.expires_ms - now.wall_ms) * 1ms);
    }
    SubscribeMail join{.session = ref_of(session), .tag = subscription.tag, .channel = ref};
    join.user_id = session.user_id;
    join.request = request.id;
    join.told = request.id.has_value();
    join.history = has(allowed, Right::history);
    join.present = command.present;
    join.data = std::move(command.presence_data);
    join.fallback = waiting != nullptr && waiting->data ? waiting->data : session.info;
    join.watch = has(allowed, Right::presence) ? command.watch.value_or(Watch::members) : Watch::none;
    join.recover = std::move(command.recover);
    subscription.sees = join.watch != Watch::none;
    session.subscriptions.push_back(subscription);
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
    const Rights allowed = rights(session, channel);
    SubscribeMail join{.session = ref_of(session), .tag = subscription.tag, .channel = ref};
    join.user_id = session.user_id;
    join.history = has(allowed, Right::history);
    join.present = present;
    join.data = std::move(data);
    join.fallback = session.info;
    join.watch = present ? Watch::members : Watch::none;
    mail(home_of(ref), std::move(join));
}

void Shard::State::unsubscribe(Session& session, Subscription& subscription, Ending ending) {
    subscription.status = Subscription::Status::leaving;
    const ChannelRef& ref = hub[subscription.hub].ref;
    mail(home_of(ref), UnsubscribeMail{.session = ref_of(session),
                                       .tag = subscription.tag,
                                       .channel = ref,
                                       .user_id = session.user_id,
                                       .gone = false,
                                       .ending = std::move(ending)});
}

void Shard::State::recheck(Session& session) {
    for (auto& subscription : session.subscriptions) {
        if (subscription.status == Subscription::Status::leaving) { continue; }
        if (subscription.expires_ms != 0 && subscription.expires_ms <= now.wall_ms) {
            subscription.granted = 0;
            subscription.expires_ms = 0;
        }
        const Rights allowed = rights(session, hub[subscription.hub].ref.name);
        const bool presence = subscription.present || subscription.sees;
        if (has(allowed, Right::subscribe) && (!presence || has(allowed, Right::presence))) { continue; }
        unsubscribe(session, subscription,
                    {.departure = Departure::clean, .told = true, .request = {}, .code = "forbidden",
                     .reason = "the right is gone"});
    }
}

}  // namespace starling::domain

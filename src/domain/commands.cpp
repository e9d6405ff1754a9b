// What a connected client asks for: may it, and if so, off to the channel's home.

#include "codec/json.h"
#include "domain/state.h"

namespace starling::domain {

namespace {

constexpr std::uint32_t kStrikes = 100;      // Refused frames within 10 s: 4007.
constexpr std::uint32_t kBadFrames = 10;     // Bad frames within 10 s: 4000.
constexpr std::uint32_t kUnanswered = 8;     // Reads and joins of one session on their way; half of it to go on.
constexpr std::size_t kWaitingMax = 100;     // Commands behind one question to the application.

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
        if (session->more.need().refused.add(now.instant) >= kStrikes) { s.close(*session, close_code::rate_limited, limit); }
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
        if (before || session->more.need().bad.add(now.instant) >= kBadFrames) {
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
        if (before || session->more.need().bad.add(now.instant) >= kBadFrames) {
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
    s.pace(*session);
    session->trim();                         // Its place stays, also where it has ended.
}

// What a client is answered may be large (recover_bytes) and waits where its queue does not show it: at other shards, or
// at the engine. So a client that asks faster than it is answered is read no further, whoever is slow.
void Shard::State::pace(Session& session) {
    if (session.state != Session::State::open) { return; }
    const std::uint32_t unanswered = session.more.peek().reads + session.more.peek().joins;
    const bool paced = session.more.peek().paced ? unanswered > kUnanswered / 2 : unanswered >= kUnanswered;
    if (paced == session.more.peek().paced) { return; }
    session.more.need().paced = paced;
    out->push_back(HoldInput{id_of(session), paced});
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
        for (std::size_t i = 0; i < session.more.peek().waiting.size(); ++i) {
            Waiting& waiting = session.more.need().waiting[i];
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
        if (subscription.status != Subscription::Status::leaving && hub[subscription.hub].name == channel) {
            granted |= subscription.granted;
        }
    }
    for (const auto& grant : session.more.peek().channel_grants) {
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
    codec::json::append_string(ask.body, session.user.view());
    ask.body += ",\"connectionId\":";
    codec::json::append_string(ask.body, connection_id(ref_of(session)));
    ask.body += ",\"channel\":";
    codec::json::append_string(ask.body, channel);
    ask.body += ",\"action\":\"" + std::string(action(right)) + "\"}";
    if (waiting == nullptr) {
        session.more.need().waiting.push_back({.channel = std::string(channel)});
        waiting = &session.more.need().waiting.back();
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
    auto& list = session->more.need().waiting;
    const auto it = std::find_if(list.begin(), list.end(), [&](const Waiting& w) { return w.ticket == ticket; });
    if (it == list.end()) { return; }
    Waiting waiting = std::move(*it);
    list.erase(it);
    if (allow) {
        std::erase_if(session->more.need().channel_grants,
                      [&](const ChannelGrant& grant) { return grant.expires_ms <= now.wall_ms; });
        session->more.need().channel_grants.push_back({waiting.channel, static_cast<Rights>(waiting.asked),
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
            session->more.need().waiting.push_back(std::move(waiting));
            s.pace(*session);
            return;
        }
        waiting.denied = 0;
        waiting.data.reset();
    }
    s.pace(*session);
    session->trim();
}

Subscription* Shard::State::find_subscription(Session& session, std::string_view channel) {
    for (auto& subscription : session.subscriptions) {
        if (subscription.status != Subscription::Status::leaving && hub[subscription.hub].name == channel) {
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
        mail(home_of_user(session.app, session.user.view()),
             AckMail{ref, session.app, session.user_id(), command->offset, request_id});
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
        publish_mail.key_owner = session.user_id();
        publish_mail.message = {.id = message_id(),
                                .event = std::move(command->event),
                                .data = std::move(command->data),
                                .user_id = session.user_id(),
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
        mail(target, TypingMail{channel, ref, session.user_id(), command->active, request_id});
        return;
    }
    if (auto* command = std::get_if<native::PresenceUpdate>(&request.command)) {
        if (subscription == nullptr || !subscription->present) {
            fail(session, request_id, ErrorCode::not_present, "channel: this connection is not present", channel.name);
            return;
        }
        mail(target, PresenceUpdateMail{channel, ref, session.user_id(), std::move(command->data), request_id});
        return;
    }
    if (std::holds_alternative<native::PresenceGet>(request.command)) {
        if (require(session, channel.name, Right::presence, request, waiting) != Permission::granted) { return; }
        ++session.more.need().reads;
        mail(target, ReadMail{channel, ref, request_id, {}});
        return;
    }
    if (auto* command = std::get_if<native::HistoryGet>(&request.command)) {
        if (require(session, channel.name, Right::history, request, waiting) != Permission::granted) { return; }
        ++session.more.need().reads;
        mail(target, ReadMail{channel, ref, request_id, std::move(*command)});
    }
}

}  // namespace starling::domain

// From an open transport to a connected session, and its end.
//
//   fresh --connect--> resuming --ResumeAnswer--> attaching --Attached--> open
//
// Input is held while the session's old connection and its user's home are asked.

#include <charconv>

#include "codec/json.h"
#include "domain/state.h"

namespace starling::domain {

namespace {

constexpr Duration kResumable = 120s;

void append_number(std::string& text, std::uint64_t value) {
    char digits[16];
    const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
    text += '-';
    text.append(digits, end);
}

std::string seconds(Duration duration) { return std::to_string(duration / 1ms) + " ms"; }

}  // namespace

std::string Shard::State::connection_id(SessionRef session) const {
    std::string id;
    id.reserve(self.node_id.size() + 16);
    id += self.node_id;
    append_number(id, session.shard);
    append_number(id, session.id.slot);
    append_number(id, session.id.generation);
    return id;
}

std::optional<SessionRef> Shard::State::parse_connection_id(std::string_view text) const {
    if (!text.starts_with(self.node_id)) { return std::nullopt; }
    text.remove_prefix(self.node_id.size());
    std::uint32_t parts[3] = {};
    for (auto& part : parts) {
        if (text.size() < 2 || text.front() != '-') { return std::nullopt; }
        text.remove_prefix(1);
        std::size_t length = 0;
        while (length < text.size() && text[length] != '-') {
            const char c = text[length++];
            const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            if (digit < 0 || length > 8) { return std::nullopt; }
            part = part * 16 + static_cast<std::uint32_t>(digit);
        }
        if (length == 0) { return std::nullopt; }
        text.remove_prefix(length);
    }
    if (!text.empty() || parts[0] >= self.count) { return std::nullopt; }
    return SessionRef{parts[0], {parts[1], parts[2]}};
}

SessionId Shard::on_open(OpenInfo info, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    const std::uint32_t slot = s.sessions.take();
    const std::uint32_t generation = s.sessions[slot].generation + 1;
    s.sessions[slot] = Session{};
    Session& session = s.sessions[slot];
    session.slot = slot;
    session.generation = generation;
    session.used = true;
    session.app = static_cast<std::uint32_t>(info.app);
    session.connected_at = now.wall_ms;
    session.more.need().opened = now.instant;
    ++s.session_count;
    s.opened.emplace_back(now.instant, s.id_of(session));
    const SessionId id{slot, generation};
    if (info.token) {
        native::Connect command;
        command.token = std::move(info.token);
        s.connect(session, {}, std::move(command));
    }
    return id;
}

void Shard::State::apply_claims(Session& session, codec::jwt::Claims& claims) {
    session.exp_ms = claims.exp_ms.value_or(0);
    session.more.need().info = std::move(claims.info);
    session.grants = Grants(claims);
    session.more.need().auto_channels = std::move(claims.channels);
}

void Shard::State::connect(Session& session, native::RequestId request, native::Connect command) {
    if (draining) {
        refuse(session, {ErrorCode::unavailable, "the node is going"}, close_code::node_going, request);
        return;
    }
    if (command.token) {
        auto claims = codec::jwt::verify(*command.token, settings->apps[session.app].token_keys, now.wall_ms,
                                         {.user_bytes = settings->wire.user_bytes,
                                          .info_bytes = settings->wire.presence_bytes});
        if (claims && claims->channel) {
            claims = std::unexpected(Error{ErrorCode::unauthenticated, "token: a channel token is no connection token"});
        }
        if (!claims) {
            refuse(session, claims.error(), close_code::unauthenticated, request);
            return;
        }
        session.user = ShortText(claims->sub);
        apply_claims(session, *claims);
    } else if (!settings->development) {
        refuse(session, {ErrorCode::unauthenticated, "token: is missing"}, close_code::unauthenticated, request);
        return;
    } else {
        session.user = ShortText(command.user ? *command.user : "guest-" + rng.word(6));
    }
    session.more.need().connect_id = request;
    session.more.need().notifications = std::move(command.notifications);
    session.state = Session::State::resuming;
    out->push_back(HoldInput{id_of(session), true});
    const auto old = command.resume ? check_resume(session, *command.resume) : std::nullopt;
    session.more.need().replaces = old.value_or("");
    if (!old) {
        attach(session);
    } else if (const auto here = parse_connection_id(*old)) {
        mail(here->shard, ResumeAskMail{ref_of(session), 0, here->id, session.app, session.user_id()});
    } else {
        mail(0, ConsultMail{.session = ref_of(session), .app = session.app, .ask = control::ResumeFrom{*old, session.user_id()}});
    }
}

std::string Shard::State::resume_token(const Session& session) const {
    std::string claims = "{\"sub\":";
    codec::json::append_string(claims, session.user.view());
    claims += ",\"iss\":";
    codec::json::append_string(claims, settings->apps[session.app].id);
    claims += ",\"channels\":[\"" + connection_id(ref_of(session)) + "\"],\"exp\":";
    claims += std::to_string(now.wall_ms / 1000 + 86400) + "}";
    return codec::jwt::sign_hmac(claims, codec::jwt::Algorithm::HS256, settings->resume_secret);
}

// `channels` names the connection; the issuer is the app, so that no app takes another's.
std::optional<std::string> Shard::State::check_resume(const Session& session, std::string_view token) const {
    auto key = codec::jwt::make_hmac_key(codec::jwt::Algorithm::HS256, settings->resume_secret);
    if (!key) { return std::nullopt; }
    key->issuer = settings->apps[session.app].id;
    key->require_exp = true;
    const auto claims = codec::jwt::verify(token, {*key}, now.wall_ms, {.user_bytes = settings->wire.user_bytes});
    if (!claims || claims->sub != session.user.view() || claims->channels.size() != 1) { return std::nullopt; }
    return claims->channels[0];
}

void Shard::State::on(ResumeAskMail& ask) {
    ResumeAnswerMail answer{.session = ask.session.id, .relay = ask.relay};
    if (const Session* live = find(ask.old); live != nullptr) {
        // The old connection broke and nobody noticed yet.
        answer.resumed = live->app == ask.app && live->user.view() == ask.user_id && live->state == Session::State::open;
        if (answer.resumed) {
            answer.grants = live->more.peek().channel_grants;
            for (const auto& subscription : live->subscriptions) {
                if (subscription.granted == 0) { continue; }
                answer.grants.push_back(
                    {std::string(hub[subscription.hub].name.view()), subscription.granted, live->expires_ms(subscription)});
            }
        }
    } else if (const EndedSession* record = ended.find(ask.old)) {
        answer.resumed = record->resumable && record->app == ask.app && record->user_id == ask.user_id;
        if (answer.resumed) { answer.grants = record->grants; }
    }
    mail(ask.session.shard, std::move(answer));
}

void Shard::State::on(ResumeAnswerMail& answer) {
    if (answer.relay != 0) {
        if (const auto relay = resume_relays.extract(answer.relay)) {
            answer_node(relay.mapped(), {.found = answer.resumed, .grants = std::move(answer.grants)});
        }
        return;
    }
    Session* session = find(answer.session);
    if (session == nullptr || session->state != Session::State::resuming) { return; }
    session->more.need().resumed = answer.resumed;
    for (auto& grant : answer.grants) {
        if (grant.expires_ms == 0) { grant.expires_ms = now.wall_ms + kResumable / 1ms; }
        session->more.need().channel_grants.push_back(std::move(grant));
    }
    attach(*session);
}

void Shard::State::attach(Session& session) {
    session.state = Session::State::attaching;
    mail(home_of_user(session.app, session.user.view()),
         AttachMail{ref_of(session), session.app, session.user_id(), std::move(session.more.need().notifications),
                    std::exchange(session.more.need().replaces, {})});
    session.more.need().notifications.reset();
}

void Shard::State::on(AttachedMail& attached) {
    Session* session = find(attached.session);
    if (session == nullptr) { return; }
    if (attached.refused) {
        refuse(*session, *attached.refused, close_code::limit, session->more.peek().connect_id);
        return;
    }
    session->state = Session::State::open;
    add_to_user(*session);
    native::Connected frame;
    frame.id = session->more.peek().connect_id;
    frame.connection_id = connection_id(ref_of(*session));
    frame.user_id = session->user_id();
    frame.node_id = self.node_id;
    frame.server_time = now.wall_ms;
    frame.ping_interval_s = settings->ping_interval / 1s;
    if (session->exp_ms != 0) { frame.expires_at = session->exp_ms; }
    frame.resume = resume_token(*session);
    frame.resumed = session->more.peek().resumed;
    frame.notifications = std::move(attached.notifications);
    reply(attached.session, native::encode(frame));
    out->push_back(HoldInput{attached.session, false});
    if (session->exp_ms != 0) {
        wake_session(*session, now.instant + (session->exp_ms - now.wall_ms) * 1ms + settings->refresh_grace);
    }
    const auto channels = std::move(session->more.need().auto_channels);
    session->more.need().auto_channels.clear();
    for (const auto& channel : channels) {
        // The right is among the token's grants, so that a refresh without it takes it away.
        subscribe_by_server(*session, channel, false, {}, 0);
    }
    session->trim();
}

std::optional<std::uint32_t> Shard::State::newest_of(std::uint32_t app, std::string_view user) const {
    return users.find(name_hash(app, user),
                      [&](std::uint32_t slot) { return sessions[slot].app == app && sessions[slot].user == user; });
}

void Shard::State::add_to_user(Session& session) {
    const std::uint64_t hash = name_hash(session.app, session.user.view());
    if (const auto newest = newest_of(session.app, session.user.view())) {
        session.next_of_user = *newest;
        users.replace(hash, *newest, session.slot);
    } else {
        users.insert(hash, session.slot);
    }
}

void Shard::State::remove_from_user(Session& session) {
    const std::uint64_t hash = name_hash(session.app, session.user.view());
    std::uint32_t at = *newest_of(session.app, session.user.view());
    if (at == session.slot && session.next_of_user == kNoSlot) {
        users.erase(hash, at);
    } else if (at == session.slot) {
        users.replace(hash, at, session.next_of_user);
    } else {
        while (sessions[at].next_of_user != session.slot) { at = sessions[at].next_of_user; }
        sessions[at].next_of_user = session.next_of_user;
    }
    session.next_of_user = kNoSlot;
}

void Shard::State::refuse(Session& session, const Error& error, std::uint16_t code, native::RequestId request) {
    reply(id_of(session), native::encode_error(request, error));
    close(session, code, error.message);
}

void Shard::State::close(Session& session, std::uint16_t code, std::string reason) {
    if (reason.size() > 123) { reason.resize(123); }
    // A cut inside a UTF-8 sequence would make the close frame invalid (RFC 6455 section 5.5.1).
    while (!reason.empty() && (static_cast<unsigned char>(reason.back()) & 0x80) != 0) { reason.pop_back(); }
    out->push_back(Close{id_of(session), code, std::move(reason)});
    end(session, code);
}

namespace {

// protocol.md sections 3 and 10: after these the client comes back, so its presence lingers.
bool lingers(std::uint16_t code) {
    switch (code) {
        case close_code::going_away:
        case close_code::no_status:
        case close_code::abnormal:
        case close_code::internal:
        case close_code::node_going:
        case 1013:
        case close_code::token_expired:
        case close_code::connect_timeout:
        case close_code::limit:
        case close_code::rate_limited:
        case close_code::too_slow:
        case close_code::no_pong:
        case close_code::engine_away: return true;
        default: return false;
    }
}

}  // namespace

void Shard::State::end(Session& session, std::uint16_t code) {
    const SessionId id = id_of(session);
    const Departure departure = lingers(code) ? Departure::broken : Departure::clean;
    if (session.state == Session::State::open) {
        EndedSession record{.id = id, .forgotten_at = now.instant + kResumable, .app = session.app, .user_id = session.user_id(),
                            .grants = session.more.peek().channel_grants};
        record.resumable =
            code != close_code::unauthenticated && code != close_code::forbidden && code != close_code::ended;
        for (const auto& subscription : session.subscriptions) {
            if (subscription.granted == 0) { continue; }
            record.grants.push_back({std::string(hub[subscription.hub].name.view()), subscription.granted, session.expires_ms(subscription)});
        }
        ended.add(std::move(record));
        remove_from_user(session);
    }
    if (session.state == Session::State::open || session.state == Session::State::attaching) {
        mail(home_of_user(session.app, session.user.view()),
             DetachMail{ref_of(session), session.app, session.user_id()});
    }
    while (!session.subscriptions.empty()) {
        Subscription& subscription = session.subscriptions.back();
        const ChannelRef ref = hub[subscription.hub].ref();
        // Also one that is leaving: its `unsubscribe` may still wait at the home.
        mail(home_of(ref), UnsubscribeMail{.session = ref_of(session),
                                           .tag = subscription.tag,
                                           .channel = ref,
                                           .user_id = session.user_id(),
                                           .gone = true,
                                           .ending = {.departure = departure}});
        remove_entry(subscription);
        const std::uint32_t index = subscription.hub;
        session.subscriptions.pop_back();
        release_hub(index);
    }
    const std::uint32_t generation = session.generation;
    session = Session{};
    session.slot = id.slot;
    session.generation = generation;
    sessions.give_back(id.slot);
    --session_count;
    settle_proofs(id);
}

void Shard::on_closed(SessionId id, std::uint16_t code, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    if (Session* session = s.find(id)) { s.end(*session, code); }
}

void Shard::State::refresh(Session& session, native::RequestId request, const native::Refresh& command) {
    auto claims = codec::jwt::verify(command.token, settings->apps[session.app].token_keys, now.wall_ms,
                                     {.user_bytes = settings->wire.user_bytes,
                                      .info_bytes = settings->wire.presence_bytes});
    if (claims && claims->channel) {
        claims = std::unexpected(Error{ErrorCode::unauthenticated, "token: a channel token is no connection token"});
    }
    if (!claims) {
        reply(id_of(session), native::encode_error(request, claims.error()));
        return;
    }
    if (claims->sub != session.user.view()) {
        refuse(session, {ErrorCode::unauthenticated, "token: is for another user"}, close_code::unauthenticated,
               request);
        return;
    }
    apply_claims(session, *claims);
    session.more.need().auto_channels.clear();
    if (session.exp_ms != 0) {
        wake_session(session, now.instant + (session.exp_ms - now.wall_ms) * 1ms + settings->refresh_grace);
    }
    reply(id_of(session), native::encode_refreshed(request, claims->exp_ms));
    recheck(session);
}

void Shard::State::on_session_deadline(Session& session) {
    if (session.more.peek().drain_close && now.instant >= *session.more.peek().drain_close) {
        close(session, close_code::node_going, "the node is going");
        return;
    }
    if (session.state == Session::State::fresh && now.instant >= session.more.peek().opened + settings->connect_timeout) {
        refuse(session,
               {ErrorCode::timeout, "connect: did not come within connect_timeout_ms, " +
                                        seconds(settings->connect_timeout)},
               close_code::connect_timeout);
        return;
    }
    if (session.exp_ms != 0 && now.wall_ms >= session.exp_ms + settings->refresh_grace / 1ms) {
        refuse(session, {ErrorCode::token_expired, "token: has expired"}, close_code::token_expired);
        return;
    }
    recheck(session);
}

}  // namespace starling::domain

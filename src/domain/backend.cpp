// The backend's requests: to one home, or to every shard, and what a shard answers.

#include <algorithm>

#include "domain/state.h"

namespace starling::domain {

namespace {

backend::Reply error(ErrorCode code, std::string message) { return backend::error_reply({code, std::move(message)}); }

}  // namespace

void Shard::on_backend(std::uint64_t token, std::size_t app, backend::Request request, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    s.ask(token, static_cast<std::uint32_t>(app), std::move(request));
}

void Shard::State::answer_now(std::uint64_t token, backend::Reply answer) {
    out->push_back(BackendReply{token, std::move(answer)});
}

void Shard::State::ask(std::uint64_t token, std::uint32_t app, backend::Request request) {
    Gathering& gathered = gathering[token];
    gathered.missing = 1;
    const auto publication = [&](const std::string& channel, std::uint32_t part) {
        PublishMail mail_out{.channel = {app, channel}};
        mail_out.message.id = message_id();
        mail_out.message.time = now.wall_ms;
        mail_out.token = token;
        mail_out.token_shard = self.index;
        mail_out.part = part;
        return mail_out;
    };
    const auto notification = [&](const std::string& user, std::string data, std::optional<std::string> key,
                                  std::uint32_t part) {
        NotifyMail mail_out{.app = app, .user_id = user, .message = {}, .key = std::move(key)};
        mail_out.message = {.id = message_id(), .data = std::move(data), .time = now.wall_ms};
        mail_out.token = token;
        mail_out.token_shard = self.index;
        mail_out.part = part;
        mail(home_of_user(app, user), std::move(mail_out));
    };
    const auto expect_many = [&](std::size_t count) {
        gathered.many = true;
        gathered.missing = static_cast<std::uint32_t>(count);
        gathered.results.resize(count, std::unexpected(Error{}));
    };
    if (auto* call = std::get_if<backend::PublishMessage>(&request)) {
        PublishMail mail_out = publication(call->channel, 0);
        mail_out.message.data = std::move(call->data);
        mail_out.message.event = std::move(call->event);
        mail_out.message.conflate_key = std::move(call->conflate_key);
        mail_out.message.user_id = call->user_id.value_or("");
        mail_out.key = std::move(call->key);
        mail_out.except = call->exclude.value_or("");
        gathered.results.resize(1, std::unexpected(Error{}));
        const std::uint32_t target = home_of(mail_out.channel);
        mail(target, std::move(mail_out));
        return;
    }
    if (auto* call = std::get_if<backend::Broadcast>(&request)) {
        expect_many(call->channels.size());
        for (std::uint32_t part = 0; part < call->channels.size(); ++part) {
            const std::string& channel = call->channels[part];
            if (auto bad = native::check_channel(channel, settings->wire.channel_bytes, "channels")) {
                gathered.results[part] = std::unexpected(std::move(*bad));
                --gathered.missing;
                continue;
            }
            PublishMail mail_out = publication(channel, part);
            mail_out.message.data = call->data;
            mail_out.message.event = call->event;
            mail_out.key = call->key;
            const std::uint32_t target = home_of(mail_out.channel);
            mail(target, std::move(mail_out));
        }
        if (gathered.missing == 0) { finish(token, gathered); }
        return;
    }
    if (auto* call = std::get_if<backend::Notify>(&request)) {
        gathered.results.resize(1, std::unexpected(Error{}));
        notification(call->user_id, std::move(call->data), std::move(call->key), 0);
        consult(token, app, control::CountDevices{{call->user_id}});
        return;
    }
    if (auto* call = std::get_if<backend::NotifyMany>(&request)) {
        expect_many(call->users.size());
        for (std::uint32_t part = 0; part < call->users.size(); ++part) {
            if (auto bad = native::check_user(call->users[part], settings->wire.user_bytes, "users")) {
                gathered.results[part] = std::unexpected(std::move(*bad));
                --gathered.missing;
                continue;
            }
            notification(call->users[part], call->data, call->key, part);
        }
        if (gathered.missing == 0) {
            finish(token, gathered);
            return;
        }
        consult(token, app, control::CountDevices{std::move(call->users)});
        return;
    }
    std::optional<std::uint32_t> only;
    if (auto* call = std::get_if<backend::SendDirect>(&request)) {
        const auto session = parse_connection_id(call->connection_id);
        if (!session) {
            gathered.missing = 0;
            consult(token, app, std::move(*call));
            return;
        }
        only = session->shard;
    }
    std::visit(
        [&](const auto& call) {
            if constexpr (requires { call.channel; } && !requires { call.user_id; }) {
                only = home_of({app, call.channel});
            }
        },
        request);
    if (auto* call = std::get_if<backend::Typing>(&request)) { only = home_of({app, call->channel}); }
    gathered.request = request;
    gathered.missing = only ? 1 : self.count;
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (!only || *only == shard) { mail(shard, AskMail{token, self.index, app, request, {}}); }
    }
    if (only) { return; }
    std::visit(
        [&](auto& call) {
            if constexpr (requires(control::Ask ask) { ask = std::move(call); }) { consult(token, app, std::move(call)); }
        },
        request);
}

void Shard::State::on(AskMail& asked) {
    AnswerMail answer{.token = asked.token, .reply = {}, .channels = {}, .connections = {}, .count = 0};
    const std::uint32_t app = asked.app;
    const auto sessions_of = [&](const std::string& user) {
        std::vector<std::uint32_t> slots;
        for (auto slot = newest_of(app, user).value_or(kNoSlot); slot != kNoSlot; slot = sessions[slot].next_of_user) {
            slots.push_back(slot);
        }
        std::ranges::reverse(slots);
        return slots;
    };
    if (asked.connections_of) {
        answer.connections = connections_before(app, *asked.connections_of);
    } else if (!asked.devices_of.empty()) {
        for (const auto& user : asked.devices_of) { answer.devices.push_back(sessions_of(user).size()); }
    } else if (auto* call = std::get_if<backend::SendDirect>(&asked.request)) {
        const auto ref = parse_connection_id(call->connection_id);
        Session* session = find(ref->id);
        if (session == nullptr || session->app != app || session->state != Session::State::open) {
            answer.reply = error(ErrorCode::not_found, "connectionId: no such connection");
        } else {
            send(ref->id, shared(native::encode_direct(call->data)));
            answer.reply = backend::Reply{202, ""};
        }
    } else if (auto* typing = std::get_if<backend::Typing>(&asked.request)) {
        TypingMail typing_mail{.channel = {app, typing->channel}, .session = {}, .user_id = typing->user_id};
        typing_mail.active = typing->active;
        on(typing_mail);
        answer.reply = backend::Reply{204, ""};
    } else if (std::holds_alternative<backend::PresenceList>(asked.request) ||
               std::holds_alternative<backend::PresenceCount>(asked.request)) {
        ask_presence(asked);
        return;
    } else if (auto* history = std::get_if<backend::History>(&asked.request)) {
        Read read{.channel = {app, history->channel}, .since = history->since, .limit = history->limit};
        read.log = log_limits(read.channel);
        if (read.log.size > 0) {
            read.reverse = history->reverse;
            read.bytes_max = settings->recover_bytes;
            read.call = expect(read.channel, BackendReadCall{asked.token, asked.from});
            tell_engine(std::move(read));
            return;
        }
        answer.reply = backend::Reply{200, backend::encode_history({}, {})};
    } else if (auto* erase = std::get_if<backend::DeleteHistory>(&asked.request)) {
        Erase erasure{.channel = {app, erase->channel}};
        if (log_limits(erasure.channel).size > 0) {
            erasure.call = expect(erasure.channel, EraseCall{asked.token, asked.from});
            tell_engine(std::move(erasure));
            return;
        }
        answer.reply = backend::Reply{204, ""};
    } else if (auto* channels = std::get_if<backend::ListChannels>(&asked.request)) {
        answer.channels = channel_rows(app, *channels);
    } else if (auto* user = std::get_if<backend::GetUser>(&asked.request)) {
        for (const std::uint32_t slot : sessions_of(user->user_id)) {
            const Session& session = sessions[slot];
            backend::ConnectionInfo info{connection_id(ref_of(session)), self.node_id, session.connected_at, {}};
            for (const auto& subscription : session.subscriptions) {
                if (subscription.status == Subscription::Status::active) {
                    info.channels.push_back(std::string(hub[subscription.hub].name.view()));
                }
            }
            answer.connections.push_back(std::move(info));
        }
    } else if (auto* kick = std::get_if<backend::DisconnectUser>(&asked.request)) {
        for (const std::uint32_t slot : sessions_of(kick->user_id)) {
            close(sessions[slot], kick->code, kick->reason);
            ++answer.count;
        }
    } else if (auto* add = std::get_if<backend::SubscribeUser>(&asked.request)) {
        for (const std::uint32_t slot : sessions_of(add->user_id)) {
            if (find_subscription(sessions[slot], add->channel) == nullptr) {
                subscribe_by_server(sessions[slot], add->channel, add->present, add->presence_data,
                                    static_cast<Rights>(Right::subscribe));
            }
            ++answer.count;
        }
    } else if (auto* remove = std::get_if<backend::UnsubscribeUser>(&asked.request)) {
        for (const std::uint32_t slot : sessions_of(remove->user_id)) {
            Subscription* subscription = find_subscription(sessions[slot], remove->channel);
            if (subscription == nullptr) { continue; }
            unsubscribe(sessions[slot], *subscription,
                        {.departure = Departure::clean, .told = true, .request = {}, .code = "ended",
                         .reason = "ended by the backend"});
            ++answer.count;
        }
    } else if (std::holds_alternative<backend::GetNodes>(asked.request)) {
        answer.count = session_count;
        answer.channels.push_back({"", home_index.size(), 0});
    }
    mail(asked.from, std::move(answer));
}

}  // namespace starling::domain

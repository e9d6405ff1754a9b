// The backend's requests: to one home, or to every shard, and their answers gathered.

#include <algorithm>

#include "domain/state.h"

namespace starling::domain {

namespace {

std::string to_hex(std::string_view text) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    for (const unsigned char c : text) {
        out += kDigits[c >> 4];
        out += kDigits[c & 15];
    }
    return out;
}

std::optional<std::string> from_hex(std::string_view text) {
    if (text.empty() || text.size() % 2 != 0) { return std::nullopt; }
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        int value = 0;
        for (const char c : text.substr(i, 2)) {
            const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            if (digit < 0) { return std::nullopt; }
            value = value * 16 + digit;
        }
        out += static_cast<char>(value);
    }
    return out;
}

backend::Reply error(ErrorCode code, std::string message) { return backend::error_reply({code, std::move(message)}); }

backend::Reply bad_cursor() { return error(ErrorCode::bad_request, "cursor: is none of ours"); }

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
        if (const auto it = users.find(key_of(app, user)); it != users.end()) { slots = it->second; }
        return slots;
    };
    if (!asked.devices_of.empty()) {
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
            const Session& session = *sessions[slot];
            backend::ConnectionInfo info{connection_id(ref_of(session)), self.node_id, session.connected_at, {}};
            for (const auto& subscription : session.subscriptions) {
                if (subscription.status == Subscription::Status::active) {
                    info.channels.push_back(hub[subscription.hub].ref.name);
                }
            }
            answer.connections.push_back(std::move(info));
        }
    } else if (auto* kick = std::get_if<backend::DisconnectUser>(&asked.request)) {
        for (const std::uint32_t slot : sessions_of(kick->user_id)) {
            close(*sessions[slot], kick->code, kick->reason);
            ++answer.count;
        }
    } else if (auto* add = std::get_if<backend::SubscribeUser>(&asked.request)) {
        for (const std::uint32_t slot : sessions_of(add->user_id)) {
            if (find_subscription(*sessions[slot], add->channel) == nullptr) {
                subscribe_by_server(*sessions[slot], add->channel, add->present, add->presence_data,
                                    static_cast<Rights>(Right::subscribe));
            }
            ++answer.count;
        }
    } else if (auto* remove = std::get_if<backend::UnsubscribeUser>(&asked.request)) {
        for (const std::uint32_t slot : sessions_of(remove->user_id)) {
            Subscription* subscription = find_subscription(*sessions[slot], remove->channel);
            if (subscription == nullptr) { continue; }
            unsubscribe(*sessions[slot], *subscription,
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

// A channel that nobody here listens to is listened to for the answer.
void Shard::State::ask_presence(AskMail& asked) {
    const ChannelRef ref{asked.app, std::visit(
                                        [](const auto& call) -> std::string {
                                            if constexpr (requires { call.channel; }) { return call.channel; }
                                            return {};
                                        },
                                        asked.request)};
    HomeChannel& channel = home(ref);
    if (channel.hearing == Hearing::ready) {
        channel.leave_at.reset();
        AnswerMail answer{.token = asked.token, .reply = presence_reply(channel, asked)};
        mail(asked.from, std::move(answer));
    } else {
        channel.asks.push_back(std::move(asked));
    }
    settle(channel);
}

backend::Reply Shard::State::presence_reply(HomeChannel& channel, const AskMail& asked) {
    const auto* list = std::get_if<backend::PresenceList>(&asked.request);
    if (list == nullptr) { return {200, backend::encode_count(channel.view.count())}; }
    std::string after;
    if (list->cursor) {
        const auto decoded = from_hex(*list->cursor);
        if (!decoded) { return bad_cursor(); }
        after = *decoded;
    }
    std::vector<Member> page = channel.view.page(after, std::size_t{list->limit} + 1);
    std::optional<std::string> cursor;
    if (page.size() > list->limit) {
        page.pop_back();
        cursor = to_hex(page.back().user_id);
    }
    return {200, backend::encode_presence(channel.view.count(), page, cursor, stale(channel))};
}

void Shard::State::on(PublishAnswerMail& part) {
    const auto it = gathering.find(part.token);
    if (it == gathering.end()) { return; }
    it->second.results[part.part] = std::move(part.result);
    if (--it->second.missing == 0) { finish(part.token, it->second); }
}

void Shard::State::on(AnswerMail& part) {
    const auto it = gathering.find(part.token);
    if (it == gathering.end()) { return; }
    Gathering& gathered = it->second;
    if (part.reply) {
        if (gathered.relay) {
            answer_node(*gathered.relay, {.found = part.reply->status == 202});
        } else {
            answer_now(part.token, std::move(*part.reply));
        }
        gathering.erase(it);
        return;
    }
    auto& channels = part.from_nodes ? gathered.remote_channels : gathered.channels;
    std::move(part.channels.begin(), part.channels.end(), std::back_inserter(channels));
    std::move(part.connections.begin(), part.connections.end(), std::back_inserter(gathered.connections));
    std::move(part.nodes.begin(), part.nodes.end(), std::back_inserter(gathered.nodes));
    if (gathered.devices.size() < part.devices.size()) { gathered.devices.resize(part.devices.size()); }
    for (std::size_t i = 0; i < part.devices.size(); ++i) { gathered.devices[i] += part.devices[i]; }
    gathered.count += part.count;
    gathered.partial = gathered.partial || part.partial;
    if (--gathered.missing == 0) { finish(part.token, gathered); }
}

namespace {

// One row a channel, in the order of names. The shards of a node add up; of nodes, each that listens knows all
// who are present, so the most counts.
using Rows = std::map<std::string, backend::ChannelInfo>;
void merge(Rows& rows, const std::vector<backend::ChannelInfo>& parts, bool other_nodes) {
    for (const auto& part : parts) {
        auto& row = rows[part.channel];
        row.channel = part.channel;
        row.subscribers += part.subscribers;
        row.present = other_nodes ? std::max(row.present, part.present) : row.present + part.present;
    }
}

backend::Reply channel_page(const Gathering& gathered, const backend::ListChannels& call) {
    if (call.cursor && !from_hex(*call.cursor)) { return bad_cursor(); }
    Rows rows;
    merge(rows, gathered.channels, false);
    merge(rows, gathered.remote_channels, true);
    std::vector<backend::ChannelInfo> page;
    std::optional<std::string> cursor;
    for (auto& [name, row] : rows) {
        if (page.size() == call.limit) {
            cursor = to_hex(page.back().channel);
            break;
        }
        page.push_back(std::move(row));
    }
    return {200, backend::encode_channels(page, cursor, gathered.partial)};
}

}  // namespace

// The first rows after the cursor and one more, which says that there are more. A channel can be here twice: for
// who listens on this shard, and for who is present.
std::vector<backend::ChannelInfo> Shard::State::channel_rows(std::uint32_t app, const backend::ListChannels& list) const {
    const std::string after = list.cursor ? from_hex(*list.cursor).value_or("") : "";
    std::vector<backend::ChannelInfo> rows;
    const auto wanted = [&](const ChannelRef& ref) {
        return ref.app == app && ref.name.starts_with(list.prefix) && (after.empty() || ref.name > after);
    };
    for (const auto& channel : hub) {
        if (channel.references == 0 || channel.entries.empty() || !wanted(channel.ref)) { continue; }
        rows.push_back({channel.ref.name, channel.entries.size(), 0});
    }
    for (const auto& channel : homes) {
        if (!channel || channel->view.count() == 0 || !wanted(channel->ref)) { continue; }
        rows.push_back({channel->ref.name, 0, channel->view.count()});
    }
    const std::size_t most = std::min<std::size_t>(rows.size(), 2 * (std::size_t{list.limit} + 1));
    std::partial_sort(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(most), rows.end(),
                      [](const auto& a, const auto& b) { return a.channel < b.channel; });
    rows.resize(most);
    return rows;
}

// This node's own row, of what its shards counted.
backend::NodeInfo Shard::State::node_info(const Gathering& gathered) const {
    std::uint64_t channels = 0;
    for (const auto& part : gathered.channels) { channels += part.subscribers; }
    return {.node_id = self.node_id,
            .address = self.address,
            .version = self.version,
            .uptime_ms = (now.instant - started) / 1ms,
            .connections = gathered.count,
            .channels = channels,
            .draining = draining};
}

void Shard::State::finish(std::uint64_t token, Gathering& gathered) {
    if (gathered.relay) {
        finish_relay(gathered);
        gathering.erase(token);
        return;
    }
    for (std::size_t i = 0; i < gathered.results.size(); ++i) {
        auto& result = gathered.results[i];
        if (!result || !result->devices || result->duplicate) { continue; }
        if (i < gathered.devices.size()) { *result->devices += gathered.devices[i]; }
        result->partial = gathered.partial;
    }
    backend::Reply answer;
    if (gathered.many) {
        answer.body = backend::encode_results(gathered.results);
    } else if (!gathered.results.empty()) {
        const auto& result = gathered.results[0];
        answer = result ? backend::Reply{200, backend::encode(*result)} : backend::error_reply(result.error());
    } else if (auto* list = std::get_if<backend::ListChannels>(&gathered.request)) {
        answer = channel_page(gathered, *list);
    } else if (std::holds_alternative<backend::GetUser>(gathered.request)) {
        answer.body = backend::encode_user(gathered.connections, gathered.partial);
    } else if (std::holds_alternative<backend::GetNodes>(gathered.request)) {
        gathered.nodes.push_back(node_info(gathered));
        std::sort(gathered.nodes.begin(), gathered.nodes.end(), [](const auto& a, const auto& b) { return a.node_id < b.node_id; });
        answer.body = backend::encode_nodes(gathered.nodes);
    } else {
        answer.body = backend::encode_connections(gathered.count);
    }
    answer_now(token, std::move(answer));
    gathering.erase(token);
}

}  // namespace starling::domain

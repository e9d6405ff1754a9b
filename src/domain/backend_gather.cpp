// The answers to the backend's requests, put together.

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

backend::Reply bad_cursor() { return backend::error_reply({ErrorCode::bad_request, "cursor: is none of ours"}); }

}  // namespace

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
        channel.leave_at = Instant::max();
        AnswerMail answer{.token = asked.token, .reply = presence_reply(channel, asked)};
        mail(asked.from, std::move(answer));
    } else {
        channel.passing.need().asks.push_back(std::move(asked));
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
    const auto wanted = [&](std::uint32_t of, std::string_view name) {
        return of == app && name.starts_with(list.prefix) && (after.empty() || name > after);
    };
    for (const auto& channel : hub) {
        if (channel.references == 0 || channel.entries.empty() || !wanted(channel.app, channel.name.view())) { continue; }
        rows.push_back({std::string(channel.name.view()), channel.entries.size(), 0});
    }
    for (const auto& channel : homes) {
        if (!channel || channel->view.count() == 0 || !wanted(channel->ref.app, channel->ref.name)) { continue; }
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
            .lease_age_ms = lease_renewed ? (now.instant - *lease_renewed) / 1ms : 0,
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

#include <algorithm>
#include <charconv>

#include "engine/redis_state.h"

namespace starling::engine {

using codec::resp::Value;

namespace {

constexpr Duration kMapEvery = 15s;
constexpr Duration kMapPause = 100ms;        // Between two questions, however many redirects come.
constexpr Duration kNextCandidate = 250ms;   // The next server is tried beside one that does not answer.

struct Address {
    std::string host;
    std::uint16_t port = 0;
};

// "host:port", where the host may itself have colons.
std::optional<Address> parse_address(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) { return std::nullopt; }
    Address address{std::string(text.substr(0, colon)), 0};
    const std::string_view port = text.substr(colon + 1);
    if (std::from_chars(port.data(), port.data() + port.size(), address.port).ec != std::errc{}) { return std::nullopt; }
    return address;
}

}  // namespace

void Redis::State::start_topology(Turn& turn) {
    for (const RedisSettings::Server& server : settings.servers) {
        if (settings.form == RedisSettings::Form::sentinel) {
            sentinels.push_back({.host = server.host, .port = server.port});
        } else {
            server_at(server.host, server.port);
        }
    }
    if (settings.form == RedisSettings::Form::standalone && !servers.empty()) {
        for (std::uint32_t i = 0; i < partitions.size(); ++i) { set_owner(i, &servers.begin()->second, turn); }
    }
    if (clustered()) { want_map(turn.now.instant); }
}

void Redis::State::watch_topology(Turn& turn) {
    poll_sentinels(turn);
    choose_primary(turn);
    if (!clustered()) { return; }
    const bool wrong = std::any_of(partitions.begin(), partitions.end(), [](const PartitionState& partition) {
        return partition.used && (partition.owner == nullptr || !partition.owner->ready);
    });
    if (wrong || turn.now.instant - map_time >= kMapEvery) { want_map(turn.now.instant); }
}

void Redis::State::set_owner(std::uint32_t index, Server* owner, Turn& turn) {
    PartitionState& partition = partitions[index];
    Server* before = partition.owner;
    if (before == owner) { return; }
    partition.owner = owner;
    if (partition.used && before != nullptr) { --before->partitions; }
    if (partition.used && owner != nullptr) { ++owner->partitions; }

    Link* old_link = before != nullptr ? ready_link(before->pubsub) : nullptr;
    Link* new_link = owner != nullptr ? ready_link(owner->pubsub) : nullptr;
    for (Subscription& moved : subscriptions) {
        if (!moved.channel || moved.partition != index) { continue; }
        const std::string channel(moved.channel.view());
        if (old_link != nullptr && moved.link == old_link->id && moved.state != Subscription::State::wanted) {
            old_link->wishes.push_back({Wish::Verb::unsubscribe, index, 0, channel});
        }
        miss(moved);
        if (new_link == nullptr) { continue; }
        moved.link = new_link->id;
        new_link->wishes.push_back({Wish::Verb::subscribe, index, moved.stamp, channel});
    }
    if (before != nullptr) { choose_probe(*before, turn); }
    if (owner != nullptr) { choose_probe(*owner, turn); }
    if (old_link != nullptr) { send_wishes(*old_link, turn); }
    if (new_link != nullptr) { send_wishes(*new_link, turn); }
    update_up(index);
    write_calls(index, turn);
}

Server* Redis::State::redirect_target(const Link& link, const std::string& error) {
    const auto space = error.rfind(' ');
    auto address = parse_address(space == std::string::npos ? "" : std::string_view(error).substr(space + 1));
    if (!address) { return nullptr; }
    if (address->host.empty() || address->host == "?") { address->host = link.server->host; }
    return &server_at(address->host, address->port);
}

// Cluster

void Redis::State::want_map(Instant at, Server* source) {
    if (source != nullptr) { map_source = source; }
    at = std::max(at, map_time + kMapPause);
    if (!ask_map_at || at < *ask_map_at) { ask_map_at = at; }
}

void Redis::State::ask_map(Turn& turn) {
    if (map_asked || !ask_map_at || turn.now.instant < *ask_map_at || servers.empty()) { return; }
    const auto answers = [&](const Server& server) { return ready_link(server.commands) != nullptr; };
    // Round and round, beginning behind the one that was asked last.
    const auto next = [&](auto&& good) -> Server* {
        for (auto at = servers.upper_bound(last_asked); at != servers.end(); ++at) {
            if (good(at->second)) { return &at->second; }
        }
        for (auto& [address, server] : servers) {
            if (good(server)) { return &server; }
        }
        return nullptr;
    };
    Server* server = map_source != nullptr && answers(*map_source) ? map_source : next(answers);
    map_source = nullptr;
    if (server == nullptr) {
        server = next([](const Server&) { return true; });
        server->wanted_until = turn.now.instant + patience();
        ask_map_at = turn.now.instant + kNextCandidate;
    } else {
        Link& link = *ready_link(server->commands);
        write(link, {"CLUSTER", "SLOTS"}, turn);
        expect(link, Expected::Kind::slots, 0, turn);
        map_asked = true;
        ask_map_at.reset();
    }
    last_asked = server->address;
}

// [[first, last, [host, port, ...], [replica's host, port, ...] ...] ...]
void Redis::State::on_map(Link& link, const Value& reply, Turn& turn) {
    map_asked = false;
    map_time = turn.now.instant;
    if (reply.kind != Value::Kind::array) {
        want_map(turn.now.instant + settings.heartbeat / 2);
        return;
    }
    std::vector<Server*> owners(partitions.size(), nullptr);
    std::set<std::string> named;
    for (const Value& range : reply.elements) {
        for (std::size_t i = 2; i < range.elements.size(); ++i) {
            const std::vector<Value>& node = range.elements[i].elements;
            if (node.size() < 2 || node[0].text == "?") { continue; }
            const std::string& host = node[0].text.empty() ? link.server->host : node[0].text;
            Server& server = server_at(host, static_cast<std::uint16_t>(node[1].integer));
            named.insert(server.address);
            if (i != 2) { continue; }
            for (std::size_t k = 0; k < partitions.size(); ++k) {
                const std::int64_t slot = slot_of(partitions[k].tag);
                if (slot >= range.elements[0].integer && slot <= range.elements[1].integer) { owners[k] = &server; }
            }
        }
    }
    map_known = true;
    for (std::uint32_t i = 0; i < partitions.size(); ++i) { set_owner(i, owners[i], turn); }
    prune_servers(named, turn.now.instant);
}

// Nodes come and go; those that are neither configured nor in the map nor in use are forgotten.
void Redis::State::prune_servers(const std::set<std::string>& named, Instant now) {
    std::erase_if(servers, [&](const auto& entry) {
        const Server& server = entry.second;
        const bool configured = std::any_of(settings.servers.begin(), settings.servers.end(), [&](const auto& one) {
            return one.host == server.host && one.port == server.port;
        });
        return !configured && !named.contains(entry.first) && !wanted(server, now) && server.commands.link == 0 &&
               server.pubsub.link == 0 && map_source != &server;
    });
}

// Sentinel

void Redis::State::authenticate(Link& link, Turn& turn) {
    link.authenticated = true;
    if (settings.user.empty()) {
        write(link, {"AUTH", settings.password}, turn);
    } else {
        write(link, {"AUTH", settings.user, settings.password}, turn);
    }
    expect(link, Expected::Kind::ignored, 0, turn);
}

// A sentinel is given the password only if it asks for one: most have none.
void Redis::State::greet_sentinel(Link& link, Turn& turn) {
    link.ready = true;
    if (link.kind == Link::Kind::polls) {
        poll_sentinel(*link.sentinel, turn);
    } else {
        write(link, {"SUBSCRIBE", "+switch-master"}, turn);
    }
}

void Redis::State::poll_sentinel(Sentinel& sentinel, Turn& turn) {
    Link* link = ready_link(sentinel.polls);
    if (link == nullptr || !link->expected.empty()) { return; }
    write(*link, {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.primary}, turn);
    expect(*link, Expected::Kind::primary, 0, turn);
}

void Redis::State::poll_sentinels(Turn& turn) {
    for (Sentinel& sentinel : sentinels) { poll_sentinel(sentinel, turn); }
}

void Redis::State::on_primary(Link& link, const Value& reply, Turn& turn) {
    Sentinel& sentinel = *link.sentinel;
    // Only an answer ends the backoff: whoever takes a connection and hangs up would be asked without a pause.
    dialer_of(link) = Dialer{.link = link.id};
    if (reply.kind == Value::Kind::error && error_code(reply.text) == "NOAUTH" && !link.authenticated &&
        !settings.password.empty()) {
        authenticate(link, turn);
        write(link, {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.primary}, turn);
        expect(link, Expected::Kind::primary, 0, turn);
        return;
    }
    sentinel.tried = true;
    sentinel.names.clear();
    sentinel.answered.reset();
    const std::string address = sentinel.host + ':' + std::to_string(sentinel.port);
    if (reply.kind == Value::Kind::error) {
        find(false, address + " (sentinel): " + reply.text);
    } else {
        sentinel.answered = turn.now.instant;
        if (reply.elements.size() == 2) {
            sentinel.names = reply.elements[0].text + ':' + reply.elements[1].text;
        } else {
            find(false, address + " (sentinel): knows no primary " + settings.primary);
        }
    }
    choose_primary(turn);
}

void Redis::State::on_sentinel_event(Link& link, const Value& push, Turn& turn) {
    dialer_of(link) = Dialer{.link = link.id};
    if (push.kind == Value::Kind::error) {
        if (error_code(push.text) == "NOAUTH" && !link.authenticated && !settings.password.empty()) {
            authenticate(link, turn);
            write(link, {"SUBSCRIBE", "+switch-master"}, turn);
        }
        return;
    }
    if (push.elements.size() != 3 || push.elements[0].text != "message") { return; }
    // "<name> <old host> <old port> <new host> <new port>"
    const std::string& text = push.elements[2].text;
    if (!text.starts_with(settings.primary + ' ')) { return; }
    const auto port = text.rfind(' ');
    const auto host = text.rfind(' ', port - 1);
    link.sentinel->names = text.substr(host + 1, port - host - 1) + ':' + text.substr(port + 1);
    link.sentinel->answered = turn.now.instant;
    choose_primary(turn);
    poll_sentinels(turn);
}

// One sentinel is enough to begin with if no more are there; but a primary that is in use is left only if
// the majority names another one, or if it is out of reach.
void Redis::State::choose_primary(Turn& turn) {
    if (sentinels.empty()) { return; }
    const std::size_t majority = sentinels.size() / 2 + 1;
    std::map<std::string, std::size_t> votes;
    std::size_t against = 0;
    bool all_tried = true;
    for (const Sentinel& sentinel : sentinels) {
        all_tried = all_tried && sentinel.tried;
        if (!sentinel.answered || turn.now.instant - *sentinel.answered > patience() || sentinel.names.empty()) { continue; }
        ++votes[sentinel.names];
        against += sentinel.names != current;
    }
    const auto best = std::max_element(votes.begin(), votes.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (best == votes.end() || best->first == current) { return; }
    const auto at = servers.find(current);
    const bool in_use = at != servers.end() && at->second.ready;
    if (against < majority && (in_use || !all_tried || best->second <= votes[current])) { return; }
    const auto address = parse_address(best->first);
    if (!address) { return; }
    current = best->first;
    Server& server = server_at(address->host, address->port);
    for (std::uint32_t i = 0; i < partitions.size(); ++i) { set_owner(i, &server, turn); }
}

}  // namespace starling::engine

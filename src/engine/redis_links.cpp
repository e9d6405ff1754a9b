#include <algorithm>

#include "base/check.h"
#include "engine/redis_state.h"

namespace starling::engine {

using codec::resp::Value;

namespace {

constexpr Duration kFirstDelay = 20ms;
constexpr Duration kDelayInLease = 250ms;
constexpr Duration kDelayMax = 2s;

}  // namespace

Server& Redis::State::server_at(const std::string& host, std::uint16_t port) {
    const std::string address = host + ':' + std::to_string(port);
    const auto [at, added] = servers.try_emplace(address);
    if (added) {
        at->second.host = host;
        at->second.port = port;
        at->second.address = address;
    }
    return at->second;
}

bool Redis::State::wanted(const Server& server, Instant now) const {
    if (server.partitions > 0 || (server.wanted_until && now < *server.wanted_until)) { return true; }
    return settings.form == RedisSettings::Form::standalone;
}

Dialer& Redis::State::dialer_of(Link& link) {
    switch (link.kind) {
        case Link::Kind::commands: return link.server->commands;
        case Link::Kind::pubsub: return link.server->pubsub;
        case Link::Kind::polls: return link.sentinel->polls;
        case Link::Kind::events: break;
    }
    return link.sentinel->events;
}

Link* Redis::State::link_of(const Dialer& dialer) const {
    const auto at = links.find(dialer.link);
    return at == links.end() ? nullptr : at->second.get();
}

Link* Redis::State::ready_link(const Dialer& dialer) const {
    Link* link = link_of(dialer);
    return link != nullptr && link->ready && link->leaving.empty() ? link : nullptr;
}

void Redis::State::dial(Dialer& dialer, Link::Kind kind, Server* server, Sentinel* sentinel, Turn& turn) {
    if (dialer.link != 0 || (dialer.retry_at && turn.now.instant < *dialer.retry_at)) { return; }
    auto link = std::make_unique<Link>();
    link->id = dialer.link = ++last_link;
    link->kind = kind;
    link->server = server;
    link->sentinel = sentinel;
    link->opened = turn.now.instant;
    dialer.retry_at.reset();
    turn.out.push_back(Connect{link->id, server != nullptr ? server->host : sentinel->host,
                               server != nullptr ? server->port : sentinel->port, settings.tls});
    links.emplace(link->id, std::move(link));
}

void Redis::State::write(Link& link, const std::vector<std::string>& words, Turn& turn) {
    // What goes to one link in a row is one write.
    if (!turn.out.empty()) {
        if (auto* last = std::get_if<Write>(&turn.out.back()); last != nullptr && last->link == link.id) {
            codec::resp::append_command(last->bytes, words);
            return;
        }
    }
    Write made{link.id, {}};
    codec::resp::append_command(made.bytes, words);
    turn.out.push_back(std::move(made));
}

void Redis::State::expect(Link& link, Expected::Kind kind, std::uint64_t number, Turn& turn, std::uint32_t partition) {
    link.expected.push_back({.kind = kind, .partition = partition, .number = number, .sent = turn.now.instant});
}

void Redis::State::close(Link& link, std::string_view reason, Told by, Turn& turn) {
    const auto at = links.find(link.id);
    if (at == links.end()) { return; }
    if (by == Told::by_us) { turn.out.push_back(Disconnect{link.id}); }
    graves.push_back(std::move(at->second));
    links.erase(at);

    Dialer& dialer = dialer_of(link);
    dialer.link = 0;
    const Instant now = turn.now.instant;
    const bool first = !dialer.failing_since.has_value();
    if (first) { dialer.failing_since = now; }
    const Duration cap = now - *dialer.failing_since < settings.lease ? kDelayInLease : kDelayMax;
    const Duration longest = std::min(cap, kFirstDelay * (1 << std::min(dialer.attempts, 7U)));
    ++dialer.attempts;
    dialer.retry_at = now + longest / 2 + Duration(rng.below(static_cast<std::uint64_t>(longest.count() / 2)));

    const std::string address = link.server != nullptr ? link.server->address
                                                       : link.sentinel->host + ':' + std::to_string(link.sentinel->port);
    if (first && !reason.empty()) {
        const char* what = link.kind == Link::Kind::pubsub ? " (pub/sub): " : link.server == nullptr ? " (sentinel): " : ": ";
        events.push_back(Finding{false, address + what + std::string(reason)});
    }
    if (link.kind == Link::Kind::commands) { lost_commands(link, address + ": " + std::string(reason), turn); }
    if (link.kind == Link::Kind::pubsub) { lost_pubsub(link); }
    if (link.kind == Link::Kind::polls) {
        link.sentinel->tried = true;
        link.sentinel->answered.reset();
        if (Link* events_link = link_of(link.sentinel->events)) { close(*events_link, "", Told::by_us, turn); }
        choose_primary(turn);
    }
}

void Redis::State::replace(Link& link, std::string_view reason, Turn& turn) {
    Dialer& dialer = dialer_of(link);
    close(link, reason, Told::by_us, turn);
    dialer.retry_at.reset();
}

void Redis::State::lost_commands(Link& link, const std::string& reason, Turn& turn) {
    Server& server = *link.server;
    server.ready = false;
    // Nobody knows what became of those that were written.
    for (const Expected& expected : link.expected) {
        if (expected.kind == Expected::Kind::slots) { map_asked = false; }
        if (expected.kind != Expected::Kind::call) { continue; }
        PartitionState& partition = partitions[expected.partition];
        finish(partition, partition.calls[expected.number - partition.first], CallFailed{true, reason});
    }
    for (std::uint32_t i = 0; i < partitions.size(); ++i) {
        fail_waiting(partitions[i], &server, reason);
        release(partitions[i]);
        update_up(i);
        write_calls(i, turn);
    }
    if (clustered()) { want_map(turn.now.instant); }
    poll_sentinels(turn);
}

void Redis::State::on_reply(Link& link, Value reply, Turn& turn) {
    // On a subscribed link pushes come at any time; only a handshake expects answers there.
    if (link.expected.empty()) {
        if (link.kind == Link::Kind::pubsub && link.ready) {
            on_push(link, std::move(reply), turn);
        } else if (link.kind == Link::Kind::events) {
            on_sentinel_event(link, reply, turn);
        } else {
            close(link, "an answer to nothing", Told::by_us, turn);
        }
        return;
    }
    const Expected expected = link.expected.front();
    link.expected.pop_front();
    switch (expected.kind) {
        case Expected::Kind::call: on_call_reply(link, expected, std::move(reply), turn); break;
        case Expected::Kind::hello: on_hello(link, expected.number, std::move(reply), turn); break;
        case Expected::Kind::probe: on_probe_answer(link, reply, turn); break;
        case Expected::Kind::slots: on_map(link, reply, turn); break;
        case Expected::Kind::primary: on_primary(link, reply, turn); break;
        case Expected::Kind::ignored: break;
    }
    if (!link.leaving.empty() && link.expected.empty()) { close(link, link.leaving, Told::by_us, turn); }
}

// The server has changed its role, or has forgotten us. What was written is still answered, then the link ends.
void Redis::State::leave(Link& link, const std::string& reason, Turn& turn) {
    if (!link.leaving.empty()) { return; }
    link.leaving = reason;
    link.server->ready = false;
    for (std::uint32_t i = 0; i < partitions.size(); ++i) {
        fail_waiting(partitions[i], link.server, reason);
        release(partitions[i]);
        update_up(i);
    }
    if (clustered()) { want_map(turn.now.instant); }
}

}  // namespace starling::engine

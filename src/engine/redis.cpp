#include "engine/redis.h"

#include <algorithm>

#include "base/check.h"
#include "engine/redis_state.h"

namespace starling::engine {

Redis::State::State(RedisSettings all, std::vector<std::string> tags, const std::vector<std::uint32_t>& mine,
                    std::string channel, std::uint64_t seed)
    : settings(std::move(all)), partitions(tags.size()), probe(std::move(channel)), rng(seed) {
    for (std::size_t i = 0; i < tags.size(); ++i) { partitions[i].tag = std::move(tags[i]); }
    for (const std::uint32_t index : mine) {
        CHECK(index < partitions.size());
        partitions[index].mine = partitions[index].used = true;
    }
}

void Redis::State::find(bool fatal, std::string text) {
    if (told.insert(text).second) { events.push_back(Finding{fatal, std::move(text)}); }
}

void Redis::State::settle(Turn& turn) {
    if (clustered()) { ask_map(turn); }
    for (auto& [address, server] : servers) {
        if (wanted(server, turn.now.instant)) {
            dial(server.commands, Link::Kind::commands, &server, nullptr, turn);
            // Only then is known how to subscribe.
            if (server.ready && (server.partitions > 0 || !clustered())) {
                dial(server.pubsub, Link::Kind::pubsub, &server, nullptr, turn);
            }
        } else {
            // What was written is still answered.
            Link* commands = link_of(server.commands);
            if (commands == nullptr || !commands->ready || commands->expected.empty()) {
                if (commands != nullptr) { close(*commands, "", Told::by_us, turn); }
                server.commands = Dialer{};
            }
        }
        if (server.partitions == 0 && (clustered() || !wanted(server, turn.now.instant))) {
            if (Link* pubsub = link_of(server.pubsub)) { close(*pubsub, "", Told::by_us, turn); }
            server.pubsub = Dialer{};
        }
    }
    for (Sentinel& sentinel : sentinels) {
        dial(sentinel.polls, Link::Kind::polls, nullptr, &sentinel, turn);
        dial(sentinel.events, Link::Kind::events, nullptr, &sentinel, turn);
    }
    for (auto& [id, link] : links) { ask_refused_again(*link, turn); }
    place_patterns(turn);
}

void Redis::State::tick(Turn& turn) {
    // A long pause of ours is not made up for.
    next_tick = turn.now.instant + settings.heartbeat / 2;
    odd_tick = !odd_tick;
    for (auto& [address, server] : servers) {
        look_at_probe(server, turn);
        if (odd_tick) { send_probe(server, turn); }
    }
    if (odd_tick) { watch_topology(turn); }
}

void Redis::State::expire_links(Turn& turn) {
    if (turn.now.instant < patient_until) { return; }
    std::vector<Link*> late;
    for (auto& [id, link] : links) {
        const Instant since = !link->expected.empty() ? link->expected.front().sent
                              : !link->ready          ? link->opened
                                                      : turn.now.instant;
        if (turn.now.instant - since >= patience()) { late.push_back(link.get()); }
    }
    for (Link* link : late) {
        if (!links.contains(link->id)) { continue; }
        close(*link, link->connected ? "no answer in time" : "no connection in time", Told::by_us, turn);
    }
}

Redis::Redis(RedisSettings settings, std::vector<std::string> tags, std::vector<std::uint32_t> mine, std::string probe,
             std::uint64_t seed)
    : state_(std::make_unique<State>(std::move(settings), std::move(tags), mine, std::move(probe), seed)) {}
Redis::~Redis() = default;
Redis::Redis(Redis&&) noexcept = default;
Redis& Redis::operator=(Redis&&) noexcept = default;

void Redis::start(Now now, Actions& out) {
    Turn turn{now, out};
    state_->next_tick = now.instant + Duration(state_->rng.below(static_cast<std::uint64_t>(state_->settings.heartbeat.count() / 2)));
    state_->start_topology(turn);
    state_->settle(turn);
}

void Redis::eval(Token token, std::uint32_t partition, const Script& script, std::vector<std::string> keys,
                 std::vector<std::string> args, Now now, Actions& out) {
    if (!state_->scripts.contains(script.sha)) { state_->scripts.emplace(script.sha, script.text); }
    std::vector<std::string> words = {"EVALSHA", script.sha, std::to_string(keys.size())};
    words.reserve(3 + keys.size() + args.size());
    std::move(keys.begin(), keys.end(), std::back_inserter(words));
    std::move(args.begin(), args.end(), std::back_inserter(words));
    command(token, partition, std::move(words), now, out);
}

void Redis::command(Token token, std::uint32_t partition, std::vector<std::string> words, Now now, Actions& out) {
    Turn turn{now, out};
    state_->call(partition, Call{.token = token, .words = std::move(words)}, turn);
}

void Redis::publish(std::uint32_t partition, std::string channel, std::string payload, Now now, Actions& out) {
    Turn turn{now, out};
    std::vector<std::string> words = {"PUBLISH", std::move(channel), std::move(payload)};
    state_->call(partition, Call{.words = std::move(words), .publish = true}, turn);
}

bool Redis::sharded() const { return state_->sharded; }

void Redis::subscribe(std::uint32_t partition, SharedBytes channel, Now now, Actions& out) {
    Turn turn{now, out};
    state_->want(partition, std::move(channel), turn);
}

void Redis::unsubscribe(std::string_view channel, Now now, Actions& out) {
    Turn turn{now, out};
    state_->unwant(channel, turn);
}

void Redis::subscribe_pattern(std::string pattern, Now now, Actions& out) {
    Turn turn{now, out};
    if (std::ranges::find(state_->patterns, pattern) != state_->patterns.end()) { return; }
    state_->patterns.push_back(pattern);
    const auto at = state_->links.find(state_->pattern_link);
    if (at == state_->links.end()) {
        state_->place_patterns(turn);
        return;
    }
    at->second->wishes.push_back({Wish::Verb::pattern, 0, 0, std::move(pattern)});
    state_->send_wishes(*at->second, turn);
}

void Redis::on_connected(LinkId id, Now now, Actions& out) {
    Turn turn{now, out};
    state_->graves.clear();
    const auto at = state_->links.find(id);
    if (at == state_->links.end() || at->second->connected) { return; }
    Link& link = *at->second;
    link.connected = true;
    if (link.server != nullptr) {
        state_->say_hello(link, turn);
    } else {
        state_->greet_sentinel(link, turn);
    }
    state_->settle(turn);
}

void Redis::on_bytes(LinkId id, std::string_view bytes, Now now, Actions& out) {
    Turn turn{now, out};
    state_->graves.clear();
    const auto at = state_->links.find(id);
    if (at == state_->links.end()) { return; }
    Link& link = *at->second;
    link.reader.feed(bytes);
    // An answer may end the link; its grave keeps it until the next turn.
    while (state_->links.contains(id)) {
        auto reply = link.reader.next();
        if (!reply) {
            state_->close(link, reply.error(), State::Told::by_us, turn);
        } else if (!*reply) {
            break;
        } else {
            state_->on_reply(link, std::move(**reply), turn);
        }
    }
    state_->settle(turn);
}

void Redis::on_closed(LinkId id, std::string_view reason, Now now, Actions& out) {
    Turn turn{now, out};
    state_->graves.clear();
    const auto at = state_->links.find(id);
    if (at == state_->links.end()) { return; }
    state_->close(*at->second, reason, State::Told::by_peer, turn);
    state_->settle(turn);
}

RedisEvents Redis::take_events() { return std::exchange(state_->events, {}); }

std::optional<Instant> Redis::next_deadline() const {
    const State& state = *state_;
    Instant next = state.next_tick;
    const auto earlier = [&](std::optional<Instant> at) {
        if (at && *at < next) { next = *at; }
    };
    for (const auto& [id, link] : state.links) {
        if (!link->expected.empty()) {
            earlier(std::max(link->expected.front().sent + state.patience(), state.patient_until));
        } else if (!link->ready) {
            earlier(std::max(link->opened + state.patience(), state.patient_until));
        }
        earlier(link->ask_again);
    }
    for (const auto& [address, server] : state.servers) {
        if (server.partitions == 0 && state.clustered() && !server.wanted_until) { continue; }
        if (server.commands.link == 0) { earlier(server.commands.retry_at); }
        if (server.pubsub.link == 0 && server.ready) { earlier(server.pubsub.retry_at); }
    }
    for (const Sentinel& sentinel : state.sentinels) {
        earlier(sentinel.polls.retry_at);
        earlier(sentinel.events.retry_at);
    }
    for (const PartitionState& partition : state.partitions) {
        if (state.waiting == 0) { break; }
        if (partition.waiting == 0) { continue; }
        const auto first = std::ranges::find(partition.calls, Call::State::waiting, &Call::state);
        earlier(first->not_before);
        earlier(first->made + state.patience());
    }
    if (!state.map_asked) { earlier(state.ask_map_at); }
    return next;
}

void Redis::on_deadline(Now now, Actions& out) {
    Turn turn{now, out};
    state_->graves.clear();
    const Instant before = std::exchange(state_->last_look, now.instant);
    if (before != Instant{} && now.instant - before > state_->settings.heartbeat) {
        state_->patient_until = now.instant + state_->settings.heartbeat / 2;
    }
    if (now.instant < *next_deadline()) { return; }
    state_->expire_links(turn);
    for (std::uint32_t i = 0; state_->waiting > 0 && i < state_->partitions.size(); ++i) { state_->expire_calls(i, turn); }
    if (state_->next_tick <= now.instant) { state_->tick(turn); }
    state_->settle(turn);
}

std::size_t Redis::pending_bytes() const { return state_->pending_bytes; }

}  // namespace starling::engine

#include <algorithm>
#include <charconv>

#include "engine/redis_state.h"

namespace starling::engine {

using codec::resp::Value;

namespace {

// A large set is subscribed in pieces, so that neither side holds much of it at once.
constexpr std::size_t kWishesInCommand = 500;
constexpr std::size_t kCommandsAsked = 4;
constexpr Duration kAskAgain = 100ms;
constexpr Duration kAskAgainForbidden = 2s;

bool leaves(std::string_view verb) { return verb.ends_with("unsubscribe"); }

}  // namespace

std::optional<std::uint32_t> Redis::State::subscription_slot(std::string_view channel) const {
    return subscription_index.find(hash64(channel, hash_seed), [&](std::uint32_t slot) { return subscriptions[slot].channel.view() == channel; });
}

Subscription* Redis::State::subscription(std::string_view channel) {
    const auto slot = subscription_slot(channel);
    return slot ? &subscriptions[*slot] : nullptr;
}

void Redis::State::want(std::uint32_t index, SharedBytes channel, Turn& turn) {
    use(index, turn);
    if (subscription(channel.view()) != nullptr) { return; }
    const std::uint32_t slot = subscriptions.take();
    subscription_index.insert(hash64(channel.view(), hash_seed), slot);
    Subscription& made = subscriptions[slot];
    made = {.channel = std::move(channel), .partition = index, .stamp = ++last_stamp};
    Link* link = partitions[index].owner != nullptr ? ready_link(partitions[index].owner->pubsub) : nullptr;
    if (link == nullptr) { return; }
    made.link = link->id;
    link->wishes.push_back({Wish::Verb::subscribe, index, made.stamp, std::string(made.channel.view())});
    send_wishes(*link, turn);
}

void Redis::State::unwant(std::string_view channel, Turn& turn) {
    const auto slot = subscription_slot(channel);
    if (!slot) { return; }
    const Subscription ended = std::exchange(subscriptions[*slot], {});
    subscription_index.erase(hash64(channel, hash_seed), *slot);
    subscriptions.give_back(*slot);
    const auto link = links.find(ended.link);
    if (link == links.end() || ended.state == Subscription::State::wanted) { return; }
    link->second->wishes.push_back({Wish::Verb::unsubscribe, ended.partition, 0, std::string(ended.channel.view())});
    send_wishes(*link->second, turn);
}

// Some link listens to the patterns; another one when that is gone.
void Redis::State::place_patterns(Turn& turn) {
    const auto now_there = links.find(pattern_link);
    if (patterns.empty() || (now_there != links.end() && now_there->second->ready)) { return; }
    for (auto& [address, server] : servers) {
        Link* link = ready_link(server.pubsub);
        if (link == nullptr) { continue; }
        pattern_link = link->id;
        for (const std::string& pattern : patterns) { link->wishes.push_back({Wish::Verb::pattern, 0, 0, pattern}); }
        send_wishes(*link, turn);
        return;
    }
}

void Redis::State::ask_refused_again(Link& link, Turn& turn) {
    if (!link.ask_again || turn.now.instant < *link.ask_again) { return; }
    link.ask_again.reset();
    for (Wish& wish : link.refused) { link.wishes.push_back(std::move(wish)); }
    link.refused.clear();
    send_wishes(link, turn);
}

// A subscription that was confirmed is so no more; a new stamp makes older confirmations of it void.
void Redis::State::miss(Subscription& subscription) {
    if (subscription.state == Subscription::State::confirmed) { events.push_back(Missed{std::string(subscription.channel.view())}); }
    subscription.state = Subscription::State::wanted;
    subscription.link = 0;
    subscription.stamp = ++last_stamp;
}

// All that this link shall listen to and does not yet.
void Redis::State::fill_wishes(Link& link, Turn& turn) {
    listen_to_probe(link, turn);
    // By partition, for a command may name one slot alone.
    std::vector<Subscription*> missing;
    for (Subscription& wanted : subscriptions) {
        if (wanted.channel && wanted.link == 0 && partitions[wanted.partition].owner == link.server) { missing.push_back(&wanted); }
    }
    std::ranges::stable_sort(missing, {}, &Subscription::partition);
    for (Subscription* wanted : missing) {
        wanted->link = link.id;
        link.wishes.push_back({Wish::Verb::subscribe, wanted->partition, wanted->stamp, std::string(wanted->channel.view())});
    }
    send_wishes(link, turn);
}

void Redis::State::send_wishes(Link& link, Turn& turn) {
    const bool by_slot = link.server->sharded;
    const auto valid = [&](const Wish& wish) {
        if (wish.verb != Wish::Verb::subscribe) { return true; }
        if (wish.stamp == 0) { return wish.channel == link.server->probe; }
        const Subscription* wanted = subscription(wish.channel);
        return wanted != nullptr && wanted->stamp == wish.stamp;
    };
    while (link.asked.size() < kCommandsAsked) {
        while (!link.wishes.empty() && !valid(link.wishes.front())) { link.wishes.pop_front(); }
        if (link.wishes.empty()) { return; }
        const Wish first = link.wishes.front();
        Asked asked;
        std::vector<std::string> words;
        if (first.verb == Wish::Verb::pattern) {
            words = {"PSUBSCRIBE"};
        } else {
            words = {std::string(by_slot ? "S" : "") + (first.verb == Wish::Verb::subscribe ? "SUBSCRIBE" : "UNSUBSCRIBE")};
        }
        while (!link.wishes.empty() && asked.wishes.size() < kWishesInCommand) {
            Wish& wish = link.wishes.front();
            if (wish.verb != first.verb || (by_slot && wish.partition != first.partition)) { break; }
            if (valid(wish)) {
                if (wish.stamp != 0 && wish.verb == Wish::Verb::subscribe) {
                    subscription(wish.channel)->state = Subscription::State::asked;
                }
                words.push_back(wish.channel);
                asked.wishes.push_back(std::move(wish));
            }
            link.wishes.pop_front();
        }
        write(link, words, turn);
        link.asked.push_back(std::move(asked));
    }
}

void Redis::State::on_push(Link& link, Value push, Turn& turn) {
    if (push.kind == Value::Kind::error) {
        on_refused(link, push.text, turn);
        return;
    }
    if (push.kind != Value::Kind::array || push.elements.size() < 3) { return; }
    const std::string& kind = push.elements[0].text;
    if (kind == "pmessage" && push.elements.size() == 4) {
        events.push_back(Pushed{std::move(push.elements[2].text), std::move(push.elements[3].text)});
    } else if (kind == "message" || kind == "smessage") {
        std::string& channel = push.elements[1].text;
        std::string& payload = push.elements[2].text;
        const Subscription* known = subscription(channel);
        if (known != nullptr && known->link == link.id) {
            if (known->state == Subscription::State::confirmed) {
                events.push_back(Pushed{std::move(channel), std::move(payload)});
            }
        } else if (channel == link.server->probe) {
            std::int64_t sent = 0;
            std::from_chars(payload.data(), payload.data() + payload.size(), sent);
            link.proven = std::max(link.proven, std::min(Instant(Duration(sent)), turn.now.instant));
            link.server->probes_answered = 0;
        }
    } else if (kind.ends_with("subscribe")) {
        on_confirmed(link, kind, push.elements[1].text, turn);
    }
}

void Redis::State::on_confirmed(Link& link, const std::string& verb, const std::string& channel, Turn& turn) {
    if (!link.asked.empty()) {
        Asked& asked = link.asked.front();
        const Wish& wish = asked.wishes[asked.confirmed];
        if (wish.channel == channel && (wish.verb == Wish::Verb::unsubscribe) == leaves(verb)) {
            Subscription* known = subscription(channel);
            if (wish.verb == Wish::Verb::subscribe && known != nullptr && wish.stamp != 0 && known->stamp == wish.stamp) {
                known->state = Subscription::State::confirmed;
                events.push_back(Subscribed{channel});
            }
            if (++asked.confirmed == asked.wishes.size()) {
                link.asked.pop_front();
                send_wishes(link, turn);
            }
            return;
        }
    }
    if (!leaves(verb)) { return; }
    // Nobody asked for it: the slot has moved, and with it the messages. MOVED says where to.
    if (clustered()) { want_map(turn.now.instant); }
    if (channel == link.server->probe) {
        link.refused.push_back({Wish::Verb::subscribe, link.server->probe_partition, 0, channel});
        link.ask_again = turn.now.instant;
    }
    Subscription* known = subscription(channel);
    if (known == nullptr || known->link != link.id) { return; }
    miss(*known);
    known->link = link.id;
    link.refused.push_back({Wish::Verb::subscribe, known->partition, known->stamp, channel});
    link.ask_again = turn.now.instant;
}

// An error answers one whole command.
void Redis::State::on_refused(Link& link, const std::string& error, Turn& turn) {
    if (link.asked.empty()) {
        close(link, error, Told::by_us, turn);
        return;
    }
    const Asked asked = std::move(link.asked.front());
    link.asked.pop_front();
    const std::string_view code = error_code(error);
    // The channels of one command lie in one slot.
    if (code == "MOVED" && clustered()) {
        Server* target = redirect_target(link, error);
        want_map(turn.now.instant, target);
        const std::uint32_t partition = asked.wishes.front().partition;
        if (target != nullptr && partitions[partition].owner == link.server) { set_owner(partition, target, turn); }
    } else if (asked.wishes.front().verb != Wish::Verb::unsubscribe) {
        find(false, link.server->address + ": subscribing is refused: " + error);
    }
    for (const Wish& wish : asked.wishes) {
        if (wish.verb == Wish::Verb::unsubscribe) { continue; }
        link.refused.push_back(wish);
    }
    link.ask_again = turn.now.instant + (code == "NOPERM" ? kAskAgainForbidden : kAskAgain);
    send_wishes(link, turn);
}

void Redis::State::lost_pubsub(Link& link) {
    for (Subscription& wanted : subscriptions) {
        if (wanted.channel && wanted.link == link.id) { miss(wanted); }
    }
}

// The channel by which the receiving path of this server is proven. In a cluster its slot must lie there.
void Redis::State::choose_probe(Server& server, Turn& turn) {
    std::string chosen = probe;
    if (clustered()) {
        const auto owned = [&](const PartitionState& partition) { return partition.used && partition.owner == &server; };
        if (!server.probe.empty() && owned(partitions[server.probe_partition])) { return; }
        const auto first = std::find_if(partitions.begin(), partitions.end(), owned);
        server.probe_partition = static_cast<std::uint32_t>(first - partitions.begin());
        chosen = first == partitions.end() ? "" : probe + ":{" + first->tag + '}';
    }
    if (chosen == server.probe) { return; }
    server.probe = std::move(chosen);
    if (Link* link = ready_link(server.pubsub)) { listen_to_probe(*link, turn); }
}

void Redis::State::listen_to_probe(Link& link, Turn& turn) {
    Server& server = *link.server;
    server.probes_answered = 0;
    if (server.probe.empty()) { return; }
    link.proven = turn.now.instant;
    link.wishes.push_front({Wish::Verb::subscribe, server.probe_partition, 0, server.probe});
    send_wishes(link, turn);
}

void Redis::State::send_probe(Server& server, Turn& turn) {
    Link* link = ready_link(server.commands);
    if (link == nullptr || !server.ready) { return; }
    // Published even where nobody listens yet: it also proves the link of the commands.
    if (server.probe.empty()) {
        write(*link, {"PING"}, turn);
        expect(*link, Expected::Kind::ignored, 0, turn);
        return;
    }
    const std::int64_t sent = turn.now.instant.time_since_epoch().count();
    write(*link, {server.sharded ? "SPUBLISH" : "PUBLISH", server.probe, std::to_string(sent)}, turn);
    expect(*link, Expected::Kind::probe, 0, turn, server.probe_partition);
}

void Redis::State::on_probe_answer(Link& link, const Value& reply, Turn& turn) {
    if (reply.kind != Value::Kind::error) {
        ++link.server->probes_answered;
        return;
    }
    const std::string_view code = error_code(reply.text);
    if (code == "MOVED" && clustered()) { want_map(turn.now.instant, redirect_target(link, reply.text)); }
    if (code == "NOPERM") { find(false, link.server->address + ": the probe is refused: " + reply.text); }
    if (code == "NOAUTH") { leave(link, reply.text, turn); }
}

// Commands are answered and nothing is heard: the receiving path is dead, and TCP may not say so for minutes.
void Redis::State::look_at_probe(Server& server, Turn& turn) {
    Link* link = ready_link(server.pubsub);
    if (link == nullptr || server.probes_answered < 2 || turn.now.instant - link->proven < patience()) { return; }
    server.probes_answered = 0;
    replace(*link, "no probe arrives", turn);
}

}  // namespace starling::engine

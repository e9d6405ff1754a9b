#pragma once
// For tests: servers in memory that speak RESP to a Redis machine. They answer handshakes, subscriptions and
// probes by themselves; what else is asked waits in `asked` until the test answers it.

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <set>

#include "engine/redis.h"

namespace starling::engine {

inline constexpr const char* kOnlyServer = "redis:6379";
inline RedisSettings only_server() { return {.servers = {{"redis", 6379}}}; }

struct Rig {
    using Words = std::vector<std::string>;
    // The answer to a command at host:port, where a test wants another than the usual one; empty: none at all.
    using Hook = std::function<std::optional<std::string>(const std::string& address, const Words& words)>;
    struct Peer {
        std::string address;
        bool connected = false;
        bool open = true;
        codec::resp::Reader reader;
        std::deque<Words> asked;             // Not answered yet.
        std::set<std::string> channels;
        std::size_t bytes = 0;               // Written to it.
    };

    explicit Rig(RedisSettings settings, std::uint32_t partitions = 4)
        : tags(make_tags(partitions)), redis(std::move(settings), tags, all(partitions), "st:probe:n.0", 7) {}

    static std::vector<std::uint32_t> all(std::uint32_t count) {
        std::vector<std::uint32_t> list(count);
        for (std::uint32_t i = 0; i < count; ++i) { list[i] = i; }
        return list;
    }
    static std::string bulk(const std::string& text) { return '$' + std::to_string(text.size()) + "\r\n" + text + "\r\n"; }
    static std::string list(const std::vector<std::string>& items) {
        std::string out = '*' + std::to_string(items.size()) + "\r\n";
        for (const std::string& item : items) { out += item; }
        return out;
    }

    Now now() const { return {instant, 0}; }
    void start() {
        redis.start(now(), actions);
        run();
    }
    // Performs what was asked for until nothing is left to do.
    void run() {
        for (int turn = 0; turn < 100000 && !actions.empty(); ++turn) {
            for (Action& action : std::exchange(actions, {})) { perform(action); }
        }
        for (RedisEvent& event : redis.take_events()) { events.push_back(std::move(event)); }
    }
    void perform(Action& action) {
        if (const auto* connect = std::get_if<Connect>(&action)) {
            Peer& peer = peers[connect->link];
            peer.address = connect->host + ':' + std::to_string(connect->port);
            connects.push_back(peer.address);
            if (refusing.contains(peer.address)) {
                peer.open = false;
                redis.on_closed(connect->link, "connection refused", now(), actions);
            } else if (!silent.contains(peer.address)) {
                peer.connected = true;
                redis.on_connected(connect->link, now(), actions);
                if (hanging_up.contains(peer.address)) {
                    peer.open = false;
                    redis.on_closed(connect->link, "reset by peer", now(), actions);
                }
            }
        } else if (const auto* write = std::get_if<Write>(&action)) {
            Peer& peer = peers.at(write->link);
            if (hanging_up.contains(peer.address)) { return; }
            EXPECT_TRUE(peer.connected && peer.open) << "a write to a link that is not open";
            peer.bytes += write->bytes.size();
            peer.reader.feed(write->bytes);
            while (true) {
                auto value = peer.reader.next();
                ASSERT_TRUE(value);
                if (!*value) { break; }
                Words words;
                for (auto& element : (*value)->elements) { words.push_back(std::move(element.text)); }
                serve(write->link, peer, std::move(words));
            }
        } else {
            peers.at(std::get<Disconnect>(action).link).open = false;
        }
    }
    void serve(LinkId link, Peer& peer, Words words) {
        if (silent.contains(peer.address)) { return; }
        if (hook) {
            if (auto text = hook(peer.address, words)) {
                give(link, *text);
                return;
            }
        }
        if (auto text = usual(peer, words)) {
            give(link, *text);
            if (words[0] == "PUBLISH" || words[0] == "SPUBLISH") { announce(peer.address, words); }
        } else {
            peer.asked.push_back(std::move(words));
        }
    }
    std::optional<std::string> usual(Peer& peer, const Words& words) {
        const std::string& verb = words[0];
        if (verb == "AUTH" || verb == "SELECT" || verb == "ASKING") { return "+OK\r\n"; }
        if (verb == "PING") { return "+PONG\r\n"; }
        if (verb == "INFO" && words[1] == "server") {
            return bulk("# Server\r\nredis_version:" + version + "\r\nredis_mode:" + mode + "\r\nrun_id:" + run_of(peer.address) + "\r\n");
        }
        if (verb == "INFO") { return bulk("maxmemory_policy:noeviction\r\n"); }
        if (verb == "ROLE") { return list({bulk("master"), ":0\r\n", "*0\r\n"}); }
        if (verb == "CONFIG") { return list({bulk(words[2]), bulk("normal 0 0 0 slave 0 0 0 pubsub 33554432 8388608 60")}); }
        if (verb == "PUBLISH" || verb == "SPUBLISH") { return ":1\r\n"; }
        if (verb.ends_with("SUBSCRIBE")) {
            std::string lower = verb, out;
            for (char& letter : lower) { letter = static_cast<char>(letter | 32); }
            for (std::size_t i = 1; i < words.size(); ++i) {
                if (lower.ends_with("unsubscribe")) { peer.channels.erase(words[i]); } else { peer.channels.insert(words[i]); }
                out += list({bulk(lower), bulk(words[i]), ":1\r\n"});
            }
            return out;
        }
        return std::nullopt;
    }
    std::string run_of(const std::string& address) {
        const auto at = runs.find(address);
        return at == runs.end() ? "run-" + address : at->second;
    }
    void announce(const std::string& address, const Words& words) {
        if (deaf.contains(address)) { return; }
        std::vector<LinkId> hearers;
        for (auto& [link, peer] : peers) {
            if (peer.open && peer.address == address && peer.channels.contains(words[1])) { hearers.push_back(link); }
        }
        for (const LinkId link : hearers) {
            give(link, list({bulk(words[0] == "PUBLISH" ? "message" : "smessage"), bulk(words[1]), bulk(words[2])}));
        }
    }
    void give(LinkId link, const std::string& bytes) {
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
            if (!peers.at(link).open) { return; }
            redis.on_bytes(link, std::string_view(bytes).substr(at, piece), now(), actions);
        }
    }

    // The link for commands that is open to a server.
    LinkId link_to(const std::string& address) {
        for (auto& [link, peer] : peers) {
            if (peer.open && peer.connected && peer.address == address && peer.channels.empty()) { return link; }
        }
        ADD_FAILURE() << "no link to " << address;
        return 0;
    }
    Peer& peer(const std::string& address) { return peers.at(link_to(address)); }
    // The link that listens to this channel.
    LinkId listener(const std::string& channel) {
        for (auto& [link, peer] : peers) {
            if (peer.open && peer.channels.contains(channel)) { return link; }
        }
        ADD_FAILURE() << "nobody listens to " << channel;
        return 0;
    }
    // Takes the oldest question at a server and answers it.
    Words answer(const std::string& address, const std::string& bytes) {
        const LinkId link = link_to(address);
        Peer& server = peers.at(link);
        if (server.asked.empty()) {
            ADD_FAILURE() << address << " was asked nothing";
            return {};
        }
        Words words = std::move(server.asked.front());
        server.asked.pop_front();
        give(link, bytes);
        run();
        return words;
    }
    void close(LinkId link) {
        peers.at(link).open = false;
        redis.on_closed(link, "reset by peer", now(), actions);
        run();
    }
    // Time goes by, deadline after deadline.
    void pass(Duration time) {
        const Instant until = instant + time;
        int turns = 0;
        while (redis.next_deadline() && *redis.next_deadline() <= until) {
            instant = std::max(instant, *redis.next_deadline());
            redis.on_deadline(now(), actions);
            run();
            ASSERT_LT(++turns, 10000) << "deadlines that do not move on";
        }
        instant = until;
    }
    void call(Token token, std::uint32_t partition, const std::string& argument = "") {
        redis.eval(token, partition, script, {"st:{" + tags[partition] + "}:key"}, {argument}, now(), actions);
        run();
    }

    template <typename T>
    std::vector<T> take() {
        std::vector<T> taken;
        std::vector<RedisEvent> rest;
        for (RedisEvent& event : events) {
            if (auto* wanted = std::get_if<T>(&event)) { taken.push_back(std::move(*wanted)); } else { rest.push_back(std::move(event)); }
        }
        events = std::move(rest);
        return taken;
    }
    // "7:text", "7:!error", "7:failed", "7:unknown" of each answer in order.
    std::vector<std::string> answers() {
        std::vector<std::string> out;
        for (const Answered& one : take<Answered>()) {
            std::string text = std::to_string(one.token) + ':';
            if (const auto* failed = std::get_if<CallFailed>(&one.result)) {
                text += failed->unknown ? "unknown" : "failed";
                reasons.push_back(failed->reason);
            } else {
                const auto& value = std::get<codec::resp::Value>(one.result);
                text += value.kind == codec::resp::Value::Kind::error ? "!" + value.text
                        : value.kind == codec::resp::Value::Kind::integer ? std::to_string(value.integer) : value.text;
            }
            out.push_back(std::move(text));
        }
        return out;
    }
    template <typename T>
    std::vector<std::string> channels() {
        std::vector<std::string> out;
        for (const T& one : take<T>()) { out.push_back(one.channel); }
        return out;
    }

    std::vector<std::string> tags;
    Redis redis;
    Script script = make_script("test", "return ARGV[1]");
    Instant instant{1000s};
    Actions actions;
    std::vector<RedisEvent> events;
    std::map<LinkId, Peer> peers;
    std::vector<std::string> connects;
    std::set<std::string> refusing, silent, deaf, hanging_up;   // Addresses: no connection, no answer, no pushes, none for long.
    std::map<std::string, std::string> runs;
    std::string version = "7.0.15", mode = "standalone";
    Hook hook;
    std::size_t piece = 1u << 30;            // Answers come in pieces of this size.
    std::vector<std::string> reasons;
};

}  // namespace starling::engine

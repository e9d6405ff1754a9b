#include <charconv>

#include "engine/redis_state.h"

namespace starling::engine {

using codec::resp::Value;

namespace {

// Steps of a handshake, sent together; the last answer decides.
enum Step : std::uint64_t { auth, select, server_info, memory_info, role, output_buffer, ping };

constexpr std::uint32_t kVersionMin = 6 * 100 + 2;
constexpr std::uint32_t kVersionSharded = 7 * 100;
// Redis' own default for pub/sub clients is 32 MiB at once, or 8 MiB for a minute.
constexpr std::uint64_t kHardLimit = 32u << 20;
constexpr std::uint64_t kSoftLimit = 8u << 20;

std::string_view field(std::string_view info, std::string_view name) {
    std::size_t at = 0;
    while (at < info.size()) {
        const std::size_t end = std::min(info.find('\n', at), info.size());
        std::string_view line = info.substr(at, end - at);
        at = end + 1;
        if (line.ends_with('\r')) { line.remove_suffix(1); }
        if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
            return line.substr(name.size() + 1);
        }
    }
    return {};
}

std::uint64_t number(std::string_view text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

// "7.0.15" is 700.
std::uint32_t version_of(std::string_view text) {
    const std::size_t dot = std::min(text.find('.'), text.size());
    const std::uint64_t minor = dot < text.size() ? number(text.substr(dot + 1)) : 0;
    return static_cast<std::uint32_t>(number(text.substr(0, dot)) * 100 + std::min<std::uint64_t>(minor, 99));
}

// The n-th of words separated by single spaces.
std::string_view word(std::string_view text, std::size_t index) {
    for (; index > 0; --index) {
        const std::size_t space = text.find(' ');
        if (space == std::string_view::npos) { return {}; }
        text.remove_prefix(space + 1);
    }
    return text.substr(0, text.find(' '));
}

}  // namespace

std::string_view error_code(std::string_view error) {
    if (error.starts_with("ERR Error running script")) {
        if (const auto at = error.find(": -"); at != std::string_view::npos) { error.remove_prefix(at + 3); }
    }
    return error.substr(0, error.find(' '));
}

void Redis::State::say_hello(Link& link, Turn& turn) {
    const auto step = [&](Step which, const std::vector<std::string>& words) {
        write(link, words, turn);
        expect(link, Expected::Kind::hello, which, turn);
    };
    if (!settings.password.empty()) {
        if (settings.user.empty()) {
            step(auth, {"AUTH", settings.password});
        } else {
            step(auth, {"AUTH", settings.user, settings.password});
        }
    }
    step(server_info, {"INFO", "server"});
    if (link.kind == Link::Kind::commands) {
        if (settings.database != 0) { step(select, {"SELECT", std::to_string(settings.database)}); }
        step(memory_info, {"INFO", "memory"});
        step(role, {"ROLE"});
        step(output_buffer, {"CONFIG", "GET", "client-output-buffer-limit"});
    }
    // The one that a server which is loading its data does not answer.
    step(ping, {"PING"});
}

void Redis::State::on_hello(Link& link, std::uint64_t step, Value reply, Turn& turn) {
    link.hello[step] = std::move(reply);
    if (step == ping) { finish_hello(link, turn); }
}

std::string Redis::State::refusal(Link& link) {
    const auto error = [&](Step step) -> std::string {
        const Value& reply = link.hello[step];
        return reply.kind == Value::Kind::error ? reply.text : "";
    };
    // Only the code: an old server that does not know AUTH repeats its arguments.
    if (const std::string text = error(auth); !text.empty()) {
        return "AUTH is refused (" + std::string(error_code(text)) + ")";
    }
    if (error(ping).starts_with("NOAUTH")) { return "a password is needed"; }
    for (const auto& [step, name] : {std::pair{ping, "PING"}, {select, "SELECT"}, {server_info, "INFO"}, {role, "ROLE"}}) {
        if (const std::string text = error(step); !text.empty()) { return std::string(name) + ": " + text; }
    }
    const std::string& info = link.hello[server_info].text;
    if (field(info, "run_id").empty()) { return "INFO has no run_id"; }
    if (link.kind == Link::Kind::pubsub) {
        return link.server->ready && field(info, "run_id") != link.server->run ? "another server than for commands" : "";
    }
    if (version_of(field(info, "redis_version")) < kVersionMin) {
        const std::string text = "Redis " + std::string(field(info, "redis_version")) + " is too old, 6.2 is needed";
        find(true, link.server->address + ": " + text);
        return text;
    }
    const std::string_view mode = field(info, "redis_mode");
    if (mode == "sentinel" || (mode == "cluster") != clustered()) {
        const std::string text = "is in mode " + std::string(mode) + ", and redis.url says " +
                                 (clustered() ? "redis+cluster" : mode == "sentinel" ? "it is not" : "no cluster");
        find(true, link.server->address + ": " + text);
        return text;
    }
    const Value& kind = link.hello[role];
    link.replica = kind.elements.empty() || kind.elements[0].text != "master";
    // In a cluster a replica can still say who is who.
    return link.replica && !clustered() ? "is a replica" : "";
}

void Redis::State::look_at_settings(Link& link) {
    const std::string& address = link.server->address;
    const std::string_view policy = field(link.hello[memory_info].text, "maxmemory_policy");
    if (policy.empty()) {
        find(false, address + ": INFO memory is not allowed: maxmemory-policy could not be checked");
    } else if (policy != "noeviction") {
        find(true, address + ": maxmemory-policy is " + std::string(policy) + ", so Redis may drop what it was given; set noeviction");
    }
    const Value& limits = link.hello[output_buffer];
    if (limits.elements.size() < 2) {
        find(false, address + ": CONFIG GET is not allowed: the pub/sub output buffer could not be checked");
        return;
    }
    // "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    const std::string& text = limits.elements[1].text;
    const auto at = text.find("pubsub ");
    if (at == std::string::npos) { return; }
    const std::uint64_t hard = number(word(std::string_view(text).substr(at), 1));
    const std::uint64_t soft = number(word(std::string_view(text).substr(at), 2));
    if ((hard != 0 && hard < kHardLimit) || (soft != 0 && soft < kSoftLimit)) {
        find(false, address + ": client-output-buffer-limit pubsub is small, a burst may cost the connection");
    }
}

void Redis::State::finish_hello(Link& link, Turn& turn) {
    Server& server = *link.server;
    if (const std::string reason = refusal(link); !reason.empty()) {
        close(link, reason, Told::by_us, turn);
        return;
    }
    link.ready = true;
    if (link.kind == Link::Kind::pubsub) {
        dialer_of(link) = Dialer{.link = link.id};
        link.proven = turn.now.instant;
        link.hello.clear();
        fill_wishes(link, turn);
        return;
    }
    const std::string& info = link.hello[server_info].text;
    const std::string run(field(info, "run_id"));
    look_at_settings(link);
    dialer_of(link) = Dialer{.link = link.id};
    server.ready = !link.replica;
    server.sharded = clustered() && version_of(field(info, "redis_version")) >= kVersionSharded;
    // The pub/sub link may still be one to the server that was here before.
    if (Link* other = link_of(server.pubsub); other != nullptr && server.run != run && !server.run.empty()) {
        replace(*other, "the server has changed", turn);
    }
    server.run = run;
    server.probes_answered = 0;
    link.hello.clear();
    if (server.ready) { sharded = server.sharded; }
    choose_probe(server, turn);
    for (std::uint32_t i = 0; i < partitions.size(); ++i) {
        update_up(i);
        write_calls(i, turn);
    }
    if (clustered() && (!map_known || !server.ready)) { want_map(turn.now.instant); }
}

}  // namespace starling::engine

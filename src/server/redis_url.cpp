#include "server/redis_url.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/check.h"
#include "codec/http.h"

namespace starling::server {

namespace {

using engine::RedisSettings;
using Form = RedisSettings::Form;

constexpr std::uint16_t kRedisPort = 6379;
constexpr std::uint16_t kSentinelPort = 26379;

std::unexpected<std::string> wrong(std::string what) { return std::unexpected("redis.url: " + std::move(what)); }

// Takes what stands before the first `mark`, or everything.
std::string_view cut(std::string_view& text, char mark) {
    const std::size_t end = std::min(text.find(mark), text.size());
    const std::string_view head = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return head;
}

template <typename Number>
std::optional<Number> number(std::string_view text) {
    Number value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) { return std::nullopt; }
    return value;
}

std::expected<void, std::string> parse_credentials(std::string_view text, RedisSettings& settings) {
    const std::string_view user = cut(text, ':');
    if (!codec::http::percent_decode(user, false, settings.user)) { return wrong("the user is not percent-encoded UTF-8"); }
    if (!codec::http::percent_decode(text, false, settings.password)) {
        return wrong("the password is not percent-encoded UTF-8");
    }
    if (settings.password.empty()) { return wrong("the password is missing before @"); }
    return {};
}

std::expected<RedisSettings::Server, std::string> parse_server(std::string_view text, std::uint16_t usual_port) {
    RedisSettings::Server server{.port = usual_port};
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos) { return wrong("the host has an open bracket"); }
        server.host = text.substr(1, end - 1);
        text.remove_prefix(end + 1);
    } else {
        const std::size_t end = std::min(text.find(':'), text.size());
        server.host = text.substr(0, end);
        text.remove_prefix(end);
    }
    const bool plain = std::ranges::all_of(server.host, [](char c) { return c > ' ' && c < 127 && c != '@' && c != '['; });
    if (server.host.empty() || !plain) { return wrong("the host is missing or has characters that no host has"); }
    if (text.empty()) { return server; }
    const auto port = text.starts_with(':') ? number<std::uint16_t>(text.substr(1)) : std::nullopt;
    if (!port || *port == 0) { return wrong("the port of " + server.host + " is no number from 1 to 65535"); }
    server.port = *port;
    return server;
}

std::expected<void, std::string> parse_database(std::string_view text, RedisSettings& settings) {
    if (text.empty()) { return {}; }
    const auto database = number<std::uint32_t>(text);
    if (!database) { return wrong("the database after / is no number"); }
    settings.database = *database;
    return {};
}

}  // namespace

std::expected<RedisSettings, std::string> parse_redis_url(std::string_view url) {
    struct Scheme { std::string_view name; Form form; bool tls; };
    static constexpr Scheme kSchemes[] = {
        {"redis://", Form::standalone, false},          {"rediss://", Form::standalone, true},
        {"redis+sentinel://", Form::sentinel, false},   {"rediss+sentinel://", Form::sentinel, true},
        {"redis+cluster://", Form::cluster, false},     {"rediss+cluster://", Form::cluster, true},
    };
    const auto* scheme = std::ranges::find_if(kSchemes, [&](const Scheme& one) { return url.starts_with(one.name); });
    if (scheme == std::end(kSchemes)) {
        return wrong("must begin with redis://, rediss://, redis+sentinel:// or redis+cluster://");
    }
    url.remove_prefix(scheme->name.size());
    RedisSettings settings{.form = scheme->form, .tls = scheme->tls};
    if (url.find_first_of("?#") != std::string_view::npos) { return wrong("there is nothing to set after ? or #"); }

    std::string_view path = url;
    std::string_view authority = cut(path, '/');
    // A password may hold a bare @; a host does not.
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
        STARLING_TRY(parse_credentials(authority.substr(0, at), settings));
        authority.remove_prefix(at + 1);
    }
    if (authority.empty()) { return wrong("the host is missing"); }
    const bool several = settings.form != Form::standalone;
    if (!several && authority.find(',') != std::string_view::npos) {
        return wrong("several hosts need redis+sentinel:// or redis+cluster://");
    }
    while (!authority.empty()) {
        auto server = parse_server(cut(authority, ','), settings.form == Form::sentinel ? kSentinelPort : kRedisPort);
        if (!server) { return std::unexpected(std::move(server).error()); }
        settings.servers.push_back(std::move(*server));
    }
    if (settings.form == Form::sentinel) {
        if (!codec::http::percent_decode(cut(path, '/'), false, settings.primary) || settings.primary.empty()) {
            return wrong("the name of the primary is missing after the sentinels (/name)");
        }
    }
    STARLING_TRY(parse_database(path, settings));
    if (settings.form == Form::cluster && settings.database != 0) { return wrong("a cluster has only database 0"); }
    return settings;
}

}  // namespace starling::server

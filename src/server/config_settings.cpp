#include "server/config_settings.h"

#include <chrono>

namespace starling::server {
namespace {

using codec::jwt::Key;

std::expected<std::vector<Key>, std::string> make_keys(const TokenKeyConfig& config) {
    const auto algorithm = codec::jwt::parse_algorithm(config.algorithm);
    if (!algorithm) { return std::unexpected("algorithm " + config.algorithm + " is not known"); }
    std::vector<Key> keys;
    if (!config.secret.empty() || !config.public_key.empty()) {
        auto key = config.secret.empty() ? codec::jwt::make_public_key(*algorithm, config.public_key)
                                         : codec::jwt::make_hmac_key(*algorithm, config.secret);
        if (!key) { return std::unexpected(std::move(key).error()); }
        key->kid = config.kid;
        keys.push_back(std::move(*key));
    } else if (!config.jwks.starts_with("https://")) {
        auto json = read_secret_file(config.jwks);
        if (!json) { return std::unexpected(std::move(json).error()); }
        auto parsed = codec::jwt::parse_jwks(*json, *algorithm);
        if (!parsed) { return std::unexpected(config.jwks + ": " + parsed.error()); }
        keys = std::move(*parsed);
    }
    for (Key& key : keys) {
        key.audience = config.audience;
        key.issuer = config.issuer;
        key.require_exp = config.require_exp;
    }
    return keys;
}

template <typename Number>
void narrow(Number& out, std::int64_t value) { out = static_cast<Number>(value); }   // Ranges were checked when read.

}  // namespace

std::expected<domain::Settings, ConfigErrors> make_settings(const Config& config, const std::string& resume_secret) {
    domain::Settings settings;
    ConfigErrors errors;
    settings.development = config.development;
    for (std::size_t i = 0; i < config.apps.size(); ++i) {
        const AppConfig& app = config.apps[i];
        auto& out = settings.apps.emplace_back();
        out.id = app.id;
        out.removed = app.removed;
        out.namespaces = app.namespaces;
        for (std::size_t k = 0; k < app.token_keys.size(); ++k) {
            auto keys = make_keys(app.token_keys[k]);
            if (!keys) {
                errors.push_back("apps[" + std::to_string(i) + "].token_keys[" + std::to_string(k) + "]: " + keys.error());
                continue;
            }
            out.token_keys.insert(out.token_keys.end(), keys->begin(), keys->end());
        }
    }
    const Config::Limits& limits = config.limits;
    narrow(settings.wire.frame_bytes, limits.frame_bytes);
    narrow(settings.wire.data_bytes, limits.data_bytes);
    narrow(settings.wire.presence_bytes, limits.presence_bytes);
    narrow(settings.wire.channel_bytes, limits.channel_bytes);
    narrow(settings.wire.user_bytes, limits.user_bytes);
    narrow(settings.wire.event_bytes, limits.event_bytes);
    narrow(settings.wire.key_bytes, limits.key_bytes);
    narrow(settings.channels_per_connection, limits.channels_per_connection);
    narrow(settings.connections_per_user, limits.connections_per_user);
    settings.frames_per_second = limits.frames_per_second;
    settings.frames_burst = limits.frames_burst;
    narrow(settings.queue_bytes, limits.queue_bytes);
    narrow(settings.recover_messages, limits.recover_messages);
    narrow(settings.recover_bytes, limits.recover_bytes);
    settings.connect_timeout = std::chrono::milliseconds(limits.connect_timeout_ms);
    settings.refresh_grace = std::chrono::milliseconds(config.auth.refresh_grace_ms);
    settings.ping_interval = std::chrono::seconds(config.server.ping_interval_s);
    settings.linger = std::chrono::milliseconds(config.presence.linger_ms);
    narrow(settings.list_limit, config.presence.list_limit);
    settings.count_interval = std::chrono::milliseconds(config.presence.count_interval_ms);
    settings.typing_timeout = std::chrono::milliseconds(config.typing.timeout_ms);
    settings.key_ttl = std::chrono::seconds(config.messages.key_ttl_s);
    narrow(settings.notifications_size, config.notifications.size);
    settings.notifications_ttl = std::chrono::seconds(config.notifications.ttl_s);
    settings.heartbeat = std::chrono::milliseconds(config.cluster.heartbeat_ms);
    // Alone, partitions only spread channels over shards; more of them spread more evenly.
    settings.partitions = config.engine.type == "memory" ? 256 : static_cast<std::uint32_t>(config.cluster.partitions);
    settings.resume_secret = config.auth.resume_secret.empty() ? resume_secret : config.auth.resume_secret;
    if (!errors.empty()) { return std::unexpected(std::move(errors)); }
    return settings;
}

}  // namespace starling::server

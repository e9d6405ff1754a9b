#pragma once
// The configuration as values, and how it comes together: one TOML file, then the environment, then
// flags, the later wins (protocol.md section 9). Nothing here starts anything; what is wrong is told
// with the place where it stands, and all of it at once.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/settings.h"

namespace starling::server {

struct TokenKeyConfig {
    std::string algorithm;
    std::string kid;
    std::string secret, secret_file;           // HS*: one of them.
    std::string public_key, public_key_file;   // RS*, PS*, ES*, EdDSA: one of them, or `jwks`.
    std::string jwks;                          // A path, or an https address that is fetched and kept fresh.
    std::string audience, issuer;
    bool require_exp = false;
};

struct AppConfig {
    std::string id = "default";
    std::string key;
    std::string secret, secret_file;
    std::vector<std::string> api_keys;
    std::vector<TokenKeyConfig> token_keys;
    std::vector<domain::NamespaceSettings> namespaces;
    bool removed = false;                      // By a reload; nobody finds it any more.
};

struct Config {
    bool development = false;

    struct Server {
        std::string listen = "0.0.0.0:8000";
        std::string admin = "127.0.0.1:8001";
        std::int64_t shards = 0;
        std::vector<std::string> allowed_origins;
        std::string certificate, certificate_key;
        std::vector<std::string> trusted_proxies;
        std::int64_t drain_delay_ms = 5000, drain_window_ms = 25000;
        std::int64_t ping_interval_s = 25;
        std::string io_uring = "auto";         // One frame to many sockets in one system call, where it is allowed.
        std::string log_level = "info";
    } server;

    struct Engine { std::string type = "memory"; } engine;
    struct Redis { std::string url = "redis://127.0.0.1:6379", authorities, prefix = "st"; bool ingress = true; } redis;
    struct Cluster { std::int64_t heartbeat_ms = 1000, lease_ms = 8500, partitions = 32, shed_after_ms = 0; } cluster;
    struct Presence { std::int64_t linger_ms = 5000, list_limit = 1000, count_interval_ms = 250; } presence;
    struct Typing { std::int64_t timeout_ms = 5000; } typing;
    struct Messages { std::int64_t key_ttl_s = 300; } messages;
    struct Notifications { std::int64_t size = 100, ttl_s = 7 * 86400; } notifications;

    struct Limits {
        std::int64_t channel_bytes = 255, user_bytes = 255, frame_bytes = 131072, data_bytes = 65536;
        std::int64_t presence_bytes = 4096, event_bytes = 64, key_bytes = 64;
        std::int64_t channels_per_connection = 128, connections_per_user = 0, connections_per_address = 0;
        double frames_per_second = 100, frames_burst = 200;
        std::int64_t queue_bytes = 1048576, recover_messages = 1000;
        std::int64_t recover_bytes = 0;        // Not given: 4 x queue_bytes, filled in when loaded.
        std::int64_t broadcast_channels = 1000, batch_requests = 100, connect_timeout_ms = 10000;
    } limits;

    struct Auth {
        std::int64_t refresh_grace_ms = 25000;
        std::string resume_secret;             // Not given: drawn at start, so a restart voids `resume`.
    } auth;

    std::vector<AppConfig> apps;
};

using Named = std::vector<std::pair<std::string, std::string>>;   // name, value

struct ConfigSources {
    std::string file;                          // Path; empty: no file.
    Named environment;                         // STARLING_SERVER_LISTEN; other names are passed over.
    Named flags;                               // server.listen, without the dashes.
    bool development = false;
};

// All findings, one a line: place, what is wrong, what would be right.
using ConfigErrors = std::vector<std::string>;

std::expected<Config, ConfigErrors> load_config(const ConfigSources& sources);
// The same from text; `origin` names it in errors.
std::expected<Config, ConfigErrors> parse_config(std::string_view text, std::string_view origin, const ConfigSources& sources);

// The environment of this process, as load_config takes it.
Named environment_of(const char* const* variables);

// An app keeps its place across reloads, whatever their order in the file, for channels and sessions point there. One
// that is no longer in the file stays as `removed`, with its id alone; what is new comes after the others.
void keep_places(const std::vector<AppConfig>& running, std::vector<AppConfig>& apps);

// TOML that says every value; secrets are replaced by "(hidden)". Loads again where nothing is hidden.
std::string print_config(const Config& config);
// The defaults, each with its line of explanation.
std::string print_default_config();

// "host:port", "[::1]:port" or ":port" (any address); the port is 0 to 65535.
struct Endpoint { std::string host; std::uint16_t port = 0; };
std::expected<Endpoint, std::string> parse_endpoint(std::string_view text);

// A file without one trailing newline, for secrets.
std::expected<std::string, std::string> read_secret_file(const std::string& path);

}  // namespace starling::server

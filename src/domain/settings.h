#pragma once
// What the domain needs of the configuration: plain values, shared by all shards, replaced as a
// whole on reload. The server reads them from TOML; tests and the simulator write them.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "codec/jwt.h"
#include "codec/native.h"

namespace starling::domain {

inline constexpr std::uint32_t kShardsMax = 256;   // Of a node: the home of a channel has a bit for each.

enum class Right : std::uint8_t { subscribe = 1, publish = 2, presence = 4, typing = 8, history = 16 };
using Rights = std::uint8_t;           // A set of Right.
inline constexpr Rights kAllRights = 31;
constexpr bool has(Rights rights, Right right) { return (rights & static_cast<Rights>(right)) != 0; }
std::optional<Right> parse_right(std::string_view text);

enum class SlowConsumer : std::uint8_t { disconnect, latest };

struct NamespaceSettings {
    std::string name;                  // "": the default namespace.
    Rights allow = 0;
    std::uint32_t history_size = 0;    // 0: no history.
    Duration history_ttl = 0s;         // From the last message.
    SlowConsumer slow_consumer = SlowConsumer::disconnect;
    Duration conflate = 0s;            // 0: off.
    std::string authorize_url;
};

struct AppSettings {
    std::string id = "default";
    std::vector<NamespaceSettings> namespaces;
    std::vector<codec::jwt::Key> token_keys;   // Secrets and public keys, JWKS files already read in.
    bool removed = false;              // By a reload: its users may not connect any more.
    const NamespaceSettings& find_namespace(std::string_view channel) const;
};

struct Settings {
    bool development = false;          // User names on trust.
    std::vector<AppSettings> apps;     // The first one called "default" needs no naming.
    codec::native::Limits wire;
    std::uint32_t channels_per_connection = 128;
    std::uint32_t connections_per_user = 0;
    double frames_per_second = 100;
    double frames_burst = 200;
    std::size_t queue_bytes = 1048576;
    std::size_t recover_messages = 1000;
    std::size_t recover_bytes = 4 * 1048576;
    Duration connect_timeout = 10s;
    Duration refresh_grace = 25s;
    Duration ping_interval = 25s;
    Duration linger = 5s;
    std::uint32_t list_limit = 1000;
    Duration count_interval = 250ms;
    Duration typing_timeout = 5s;
    Duration key_ttl = 300s;
    std::uint32_t notifications_size = 100;
    Duration notifications_ttl = 7 * 86400s;
    Duration heartbeat = 1s;           // What other nodes have not answered within it is left out.
    std::uint32_t partitions = 32;     // Of channels; the same on every node of a cluster.
    std::string resume_secret;         // Signs `resume`.
    std::optional<std::size_t> find_app(std::string_view id) const;
};

}  // namespace starling::domain

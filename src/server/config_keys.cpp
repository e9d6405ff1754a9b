#include "server/config_keys.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace starling::server {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kYearS = 366 * 86'400;
constexpr std::int64_t kMega = 1'048'576;

#define AT(member) [](Config& c) -> ConfigTarget { return &c.member; }

constexpr auto kKeys = std::to_array<ConfigKey>({
    {"server.listen", AT(server.listen), "public listener; port 0: any free one, printed"},
    {"server.admin", AT(server.admin), "health and metrics, for the operator alone"},
    {"server.shards", AT(server.shards), "threads that serve connections; 0: one a core", 0, domain::kShardsMax},
    {"server.allowed_origins", AT(server.allowed_origins), "origins of pages that may connect; empty: the gateway's own host"},
    {"server.tls.certificate", AT(server.certificate), "PEM file with the chain; empty: no TLS"},
    {"server.tls.key", AT(server.certificate_key), "PEM file with the private key"},
    {"server.trusted_proxies", AT(server.trusted_proxies), "addresses whose X-Forwarded-For is believed"},
    {"server.drain.delay_ms", AT(server.drain_delay_ms), "from ready 503 to the first reconnect", 0, kDayMs},
    {"server.drain.window_ms", AT(server.drain_window_ms), "within which clients are sent away", 0, kDayMs},
    {"server.ping_interval_s", AT(server.ping_interval_s), "between two pings to a connection", 1, 3600},
    {"server.io_uring", AT(server.io_uring), "for sending to many; auto: where the kernel allows it", 0, 0, "auto|off"},
    {"server.log_level", AT(server.log_level), "what goes to stderr", 0, 0, "debug|info|warning|error|off"},
    {"engine.type", AT(engine.type), "where order and history live", 0, 0, "memory|redis"},
    {"redis.url", AT(redis.url), "redis://, rediss://, redis+sentinel:// or redis+cluster://", 0, 0, {}, true},
    {"redis.tls.authorities", AT(redis.authorities), "PEM file that verifies a rediss:// server; empty: the system's"},
    {"redis.prefix", AT(redis.prefix), "begins every key"},
    {"redis.ingress", AT(redis.ingress), "whether PUBLISH in Redis reaches subscribers"},
    {"cluster.heartbeat_ms", AT(cluster.heartbeat_ms), "between two signs of life of a node", 50, kDayMs},
    {"cluster.lease_ms", AT(cluster.lease_ms), "after which a silent node is dead", 500, kDayMs},
    {"cluster.partitions", AT(cluster.partitions), "of the internal rosters", 1, 4096},
    {"cluster.shed_after_ms", AT(cluster.shed_after_ms), "without the engine connections are closed; 0: never", 0, kDayMs},
    {"presence.linger_ms", AT(presence.linger_ms), "how long presence survives a broken connection", 0, kDayMs},
    {"presence.list_limit", AT(presence.list_limit), "members above which a channel is counted, not listed", 1, 1'000'000},
    {"presence.count_interval_ms", AT(presence.count_interval_ms), "between two counts to a subscriber", 1, kDayMs},
    {"typing.timeout_ms", AT(typing.timeout_ms), "after which typing ends by itself", 100, kDayMs},
    {"messages.key_ttl_s", AT(messages.key_ttl_s), "how long an idempotency key is remembered", 1, kYearS},
    {"notifications.size", AT(notifications.size), "kept for each user", 1, 100'000},
    {"notifications.ttl_s", AT(notifications.ttl_s), "how long they are kept", 1, 10 * kYearS},
    {"limits.channel_bytes", AT(limits.channel_bytes), "of a channel's name", 1, 65'535},
    {"limits.user_bytes", AT(limits.user_bytes), "of a user id", 1, 65'535},
    {"limits.frame_bytes", AT(limits.frame_bytes), "of a client's frame", 256, 64 * kMega},
    {"limits.data_bytes", AT(limits.data_bytes), "of a publication's data", 1, 64 * kMega},
    {"limits.presence_bytes", AT(limits.presence_bytes), "of presence data", 1, kMega},
    {"limits.event_bytes", AT(limits.event_bytes), "of an event's name", 1, 1024},
    {"limits.key_bytes", AT(limits.key_bytes), "of an idempotency or conflation key", 1, 1024},
    {"limits.channels_per_connection", AT(limits.channels_per_connection), "subscriptions of one connection", 1, 1'000'000},
    {"limits.connections_per_user", AT(limits.connections_per_user), "0: unlimited", 0, 1'000'000},
    {"limits.connections_per_address", AT(limits.connections_per_address), "0: unlimited", 0, 1'000'000},
    {"limits.frames_per_second", AT(limits.frames_per_second), "from one connection, sustained", 1, 1'000'000},
    {"limits.frames_burst", AT(limits.frames_burst), "from one connection, at once", 1, 1'000'000},
    {"limits.queue_bytes", AT(limits.queue_bytes), "that wait to be sent to one connection", 1024, 1024 * kMega},
    {"limits.recover_messages", AT(limits.recover_messages), "in one recovery", 1, 1'000'000},
    {"limits.recover_bytes", AT(limits.recover_bytes), "in one recovery; not given: 4 x queue_bytes", 1, 4096 * kMega},
    {"limits.broadcast_channels", AT(limits.broadcast_channels), "in one broadcast, and users in one notification", 1, 100'000},
    {"limits.batch_requests", AT(limits.batch_requests), "in one batch", 1, 10'000},
    {"limits.connect_timeout_ms", AT(limits.connect_timeout_ms), "from the upgrade to connect", 10, kDayMs},
    {"auth.refresh_grace_ms", AT(auth.refresh_grace_ms), "to send a new token after the old one expired", 0, kDayMs},
    {"auth.resume_secret", AT(auth.resume_secret), "signs resume; not given: drawn at start", 0, 0, {}, true},
});

#undef AT

std::size_t edits(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

std::string environment_name(std::string_view path) {
    std::string out = "STARLING_";
    for (const char c : path) {
        out += c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return out;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    std::string_view best;
    std::size_t best_edits = static_cast<std::size_t>(-1);
    for (const std::string_view candidate : candidates) {
        const std::size_t distance = edits(word, candidate);
        // More than every other letter wrong is not a slip of the pen.
        if (distance < best_edits && distance <= std::max(word.size(), candidate.size()) / 2) {
            best = candidate;
            best_edits = distance;
        }
    }
    return best;
}

}  // namespace starling::server

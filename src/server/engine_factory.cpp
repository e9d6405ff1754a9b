#include "server/engine_factory.h"

#include "base/check.h"
#include "engine/cluster.h"
#include "engine/memory.h"
#include "server/redis_url.h"
#include "server/shard_loop.h"

namespace starling::server {

namespace {

std::unique_ptr<engine::Engine> make_cluster(const Runtime& runtime, const domain::ShardIdentity& identity, std::uint64_t seed) {
    const Config& config = runtime.config;
    engine::ClusterSettings settings;
    settings.node_id = identity.node_id;
    settings.address = identity.address;
    settings.shard = identity.index;
    settings.shards = identity.count;
    settings.prefix = config.redis.prefix;
    settings.partitions = runtime.settings->partitions;
    for (const auto& app : runtime.settings->apps) { settings.apps.push_back(app.id); }
    settings.ingress = config.redis.ingress;
    settings.data_bytes = runtime.settings->wire.data_bytes;
    settings.channel_bytes = runtime.settings->wire.channel_bytes;
    settings.heartbeat = std::chrono::milliseconds(config.cluster.heartbeat_ms);
    settings.lease = std::chrono::milliseconds(config.cluster.lease_ms);
    settings.linger = runtime.settings->linger;
    auto redis = make_redis(config);
    CHECK(redis);                            // Checked when the configuration was read.
    return std::make_unique<engine::Cluster>(std::move(settings), std::move(*redis), seed);
}

}  // namespace

std::expected<engine::RedisSettings, std::string> make_redis(const Config& config) {
    auto redis = parse_redis_url(config.redis.url);
    if (!redis) { return redis; }
    redis->heartbeat = std::chrono::milliseconds(config.cluster.heartbeat_ms);
    redis->lease = std::chrono::milliseconds(config.cluster.lease_ms);
    return redis;
}

std::expected<std::shared_ptr<net::TlsContext>, std::string> make_redis_tls(const Config& config) {
    const auto redis = parse_redis_url(config.redis.url);
    if (config.engine.type != "redis" || !redis || !redis->tls) { return nullptr; }
    auto context = net::TlsContext::client(config.redis.authorities);
    if (!context) { return std::unexpected("redis.tls.authorities: " + context.error()); }
    return context;
}

std::unique_ptr<engine::Engine> make_engine(const Runtime& runtime, const domain::ShardIdentity& identity) {
    // Another stream of chance than the shard's own, from the same draw.
    const std::uint64_t seed = identity.seed ^ 0x9e3779b97f4a7c15ULL;
    if (runtime.config.engine.type == "redis") { return make_cluster(runtime, identity, seed); }
    return std::make_unique<engine::Memory>(runtime.settings->linger, seed);
}

}  // namespace starling::server

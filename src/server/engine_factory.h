#pragma once
// Which engine a shard gets: the one place that knows them all.

#include <expected>
#include <memory>
#include <string>

#include "domain/shard.h"
#include "engine/engine.h"
#include "net/tls.h"
#include "server/config.h"

namespace starling::server {

struct Runtime;

// redis.url with the times of the cluster; the error is that of the URL.
std::expected<engine::RedisSettings, std::string> make_redis(const Config& config);
// The context of links to Redis; null where they are plain.
std::expected<std::shared_ptr<net::TlsContext>, std::string> make_redis_tls(const Config& config);
std::unique_ptr<engine::Engine> make_engine(const Runtime& runtime, const domain::ShardIdentity& identity);

}  // namespace starling::server

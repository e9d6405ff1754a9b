#pragma once
// A look at Redis from outside the gateway, for `doctor`: connects as a shard would, and tells what it finds.

#include <memory>
#include <vector>

#include "base/time.h"
#include "engine/redis.h"
#include "net/tls.h"

namespace starling::server {

struct RedisCheck {
    bool reached = false;
    Duration time{};                         // Until every partition was up.
    std::vector<engine::Finding> findings;
};

RedisCheck check_redis(engine::RedisSettings settings, std::shared_ptr<net::TlsContext> tls, Duration within);

}  // namespace starling::server

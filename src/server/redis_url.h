#pragma once
// redis.url, taken apart:
//   redis://[[user]:password@]host[:port][/database]                  rediss:// for TLS
//   redis+sentinel://[[user]:password@]host[:port],host[:port].../name[/database]
//   redis+cluster://[[user]:password@]host[:port],host[:port]...
// User, password and name may be percent-encoded; an IPv6 address stands in brackets. rediss+sentinel and
// rediss+cluster are the same over TLS.

#include <expected>
#include <string>
#include <string_view>

#include "engine/redis.h"

namespace starling::server {

// The error names the part that is wrong and never repeats the text, which may hold a password.
std::expected<engine::RedisSettings, std::string> parse_redis_url(std::string_view url);

}  // namespace starling::server

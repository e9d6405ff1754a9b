#pragma once
// Every key of the configuration outside [[apps]] in one table: name, place, range and meaning. The
// file, the environment, the flags, `config default` and the suggestions all read this table.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/config.h"

namespace starling::server {

using ConfigTarget = std::variant<std::string*, std::int64_t*, double*, bool*, std::vector<std::string>*>;

struct ConfigKey {
    std::string_view path;             // "server.drain.delay_ms"
    ConfigTarget (*at)(Config&);
    std::string_view help;
    std::int64_t min = 0, max = 0;     // Of a number.
    std::string_view choices = {};     // Of a string: "a|b"; empty: any.
    bool secret = false;
};

std::span<const ConfigKey> config_keys();

// "STARLING_SERVER_LISTEN" for "server.listen".
std::string environment_name(std::string_view path);

// The candidate with the fewest edits, empty where none is near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace starling::server

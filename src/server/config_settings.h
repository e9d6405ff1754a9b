#pragma once
// From the configuration to what the domain is given: units become durations, secrets become keys.

#include <expected>

#include "server/config.h"

namespace starling::server {

// Keys of JWKS addresses are not in it: the key store fetches them. `resume_secret` is used where the
// configuration gives none.
std::expected<domain::Settings, ConfigErrors> make_settings(const Config& config, const std::string& resume_secret);

}  // namespace starling::server

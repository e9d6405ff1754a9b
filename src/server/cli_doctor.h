#pragma once
// `starling doctor`: one line for each thing of this machine and configuration that a gateway depends on.

#include <expected>

#include "base/time.h"
#include "server/config.h"

namespace starling::server {

// Prints the lines; 0 where all is well, 1 with a finding. A Redis that is not reached by `redis_patience` is one.
int run_doctor(const ConfigSources& sources, const std::expected<Config, ConfigErrors>& config, Duration redis_patience = 5s);

}  // namespace starling::server

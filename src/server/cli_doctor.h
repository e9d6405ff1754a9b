#pragma once
// `starling doctor`: one line for each thing of this machine and configuration that a gateway depends on.

#include <expected>

#include "server/config.h"

namespace starling::server {

// Prints the lines; 0 where all is well, 1 with a finding.
int run_doctor(const ConfigSources& sources, const std::expected<Config, ConfigErrors>& config);

}  // namespace starling::server

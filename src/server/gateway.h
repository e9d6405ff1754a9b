#pragma once
// A whole node: its loops, one thread each, and what the operator tells it by signals.
// SIGTERM or SIGINT drains and ends; SIGHUP reads the configuration again.

#include "server/config.h"

namespace starling::server {

// Runs until it is told to end. Returns the process's exit code: 0 after a drain, 1 where it could not
// start. `sources` are read again on SIGHUP; a configuration that fails then changes nothing.
int run_gateway(const ConfigSources& sources, const Config& config);

}  // namespace starling::server

#pragma once
// The command line: `starling serve`, `config`, `token`, `publish`, `tail`, `doctor`, `version`. Any
// key of the configuration is also a flag (`--server.listen=...`) of every command.

#include <string>
#include <vector>

#include "server/config.h"

namespace starling::server {

// What all commands share, loaded.
struct Invocation {
    ConfigSources sources;
    Config config;
};

// Runs a gateway until it is told to end, and returns the process's exit code.
using Serve = int (*)(const Invocation&);

// Returns the exit code: 0, 1 for a finding or a refusal, 2 for a command line that is not understood.
int run_cli(int argc, char** argv, Serve serve);

// `--server.listen=x` and `--server.listen x` are taken out of `arguments` and returned.
Named take_config_flags(std::vector<std::string>& arguments);

}  // namespace starling::server

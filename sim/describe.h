#pragma once
// Calls and events between a shard and its engine, as lines of a trace.

#include <string>

#include "domain/engine.h"

namespace starling::sim {

std::string describe(const domain::EngineCall& call);
std::string describe(const domain::EngineEvent& event);

}  // namespace starling::sim

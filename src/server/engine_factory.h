#pragma once
// Which engine a shard gets: the one place that knows them all.

#include <memory>

#include "domain/shard.h"
#include "engine/engine.h"

namespace starling::server {

struct Runtime;

std::unique_ptr<engine::Engine> make_engine(const Runtime& runtime, const domain::ShardIdentity& identity);

}  // namespace starling::server

#include "server/engine_factory.h"

#include "engine/memory.h"
#include "server/shard_loop.h"

namespace starling::server {

std::unique_ptr<engine::Engine> make_engine(const Runtime& runtime, const domain::ShardIdentity& identity) {
    // Another stream of chance than the shard's own, from the same draw.
    return std::make_unique<engine::Memory>(runtime.settings->linger, identity.seed ^ 0x9e3779b97f4a7c15ULL);
}

}  // namespace starling::server

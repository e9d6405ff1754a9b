#include "domain/engine.h"

#include "base/hash.h"

namespace starling::domain {

// Every node must name the same partition: the seed is fixed, and the app is left out, for its index is a
// node's own.
std::uint32_t partition_of(const ChannelRef& channel, std::uint32_t partitions) {
    return static_cast<std::uint32_t>(hash64(channel.name, 0) % partitions);
}

}  // namespace starling::domain

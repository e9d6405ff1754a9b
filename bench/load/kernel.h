#pragma once
// What the whole machine's kernel counts: memory that is left, and connections that it dropped on the way in.

#include <cstdint>

namespace starling::bench {

std::uint64_t available_bytes();             // MemAvailable.

struct KernelDrops {
    std::uint64_t listen_overflows = 0;      // The accept queue was full.
    std::uint64_t request_queue_full = 0;    // The queue of half-open connections was full.
    std::uint64_t timeouts = 0;              // Something was sent again because no acknowledgement came.
};
KernelDrops kernel_drops();

}  // namespace starling::bench

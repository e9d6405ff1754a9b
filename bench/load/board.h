#pragma once
// What the processes of one run share: a page of counters in shared memory. Each client process writes
// its own part; the parent and the publisher only look.

#include <atomic>
#include <bit>
#include <cstdint>

namespace starling::bench {

// Nanoseconds in buckets an eighth of a power of two wide: at most 9 % off.
struct Histogram {
    static constexpr std::size_t kBuckets = 40 * 8;
    std::uint64_t counts[kBuckets] = {};

    void add(std::uint64_t value) {
        const unsigned power = value < 8 ? 3U : static_cast<unsigned>(std::bit_width(value)) - 1;
        const std::size_t bucket = (power - 3) * 8 + ((value >> (power - 3)) & 7);
        ++counts[bucket < kBuckets ? bucket : kBuckets - 1];
    }
    void add(const Histogram& other) {
        for (std::size_t i = 0; i < kBuckets; ++i) { counts[i] += other.counts[i]; }
    }
    double quantile(double share) const;     // The upper edge of its bucket; 0 where nothing was counted.
};

enum class Phase : std::uint32_t { connect, run, stop };

struct ClientPart {
    std::atomic<std::uint64_t> ready{0};     // Connections with all their subscriptions; of churn: whole cycles.
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> lost{0};      // Sequence numbers passed over.
    std::atomic<std::uint64_t> repeated{0};  // Sequence numbers that came again, or late.
    // On the node that was published at, and on others. Read once the process has ended.
    Histogram latency, latency_elsewhere;
};

struct Board {
    static constexpr std::size_t kProcesses = 128;
    std::atomic<Phase> phase{Phase::connect};
    std::atomic<std::uint64_t> published{0};
    std::atomic<std::uint64_t> late_rounds{0};   // Not all had arrived within 10 s.
    std::atomic<bool> publisher_ready{false}, publisher_done{false};
    ClientPart clients[kProcesses];

    std::uint64_t sum(std::atomic<std::uint64_t> ClientPart::* member) const {
        std::uint64_t total = 0;
        for (const ClientPart& part : clients) { total += (part.*member).load(std::memory_order_relaxed); }
        return total;
    }
};

}  // namespace starling::bench

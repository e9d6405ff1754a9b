#pragma once
// What the processes of a cluster run share: the step that the parent orders, the nodes' ports, and for each
// client process its counters. A client process writes its own part only.

#include <atomic>
#include <cstdint>

#include "load/board.h"

namespace starling::bench {

enum class Step : std::uint32_t { idle, connect, audit, joins, typing, publish, all, storm, stop };

using Counter = std::atomic<std::uint64_t>;

struct ClusterPart {
    std::atomic<std::uint32_t> done{0};      // Number of the last order that is over.
    Counter open{0};                         // Connections with all their subscriptions, now.
    Counter attempts{0}, failures{0};        // To connect; a failure is tried again.
    Counter cut{0};                          // Open connections that the other side ended.
    Counter errors{0}, unsubscribed{0};      // Frames that should not come.
    Counter resumed{0}, recovered{0}, not_recovered{0};
    // What was told of presence, against what is so.
    Counter joins{0}, leaves{0}, false_joins{0}, false_leaves{0}, repeated_joins{0}, repeated_leaves{0}, odd_snapshots{0};
    Counter wrong_views{0}, missing{0}, extra{0};    // Of the last audit.
    Counter samples{0}, unseen{0};           // Events of joins and typing waited for, and those that did not come in time.
    Counter published{0}, received{0}, lost{0}, repeated{0};
    Counter all_received{0}, all_last_ns{0};
    Counter missed_received{0}, missed_repeated{0};  // Messages sent while clients were away.
    // Only read when the step that fills them is over.
    Histogram join_other, join_same, leave_other, typing_other, typing_same, message_other, message_same;
};

struct ClusterBoard {
    static constexpr std::size_t kProcesses = 80;
    static constexpr std::size_t kNodes = 82;
    std::atomic<std::uint32_t> order{0};     // A new number: a new step.
    std::atomic<Step> step{Step::idle};
    std::atomic<std::uint32_t> value{0};     // Of the step: number of the message to all.
    std::atomic<std::uint32_t> nodes{0};     // How many ports count.
    std::atomic<std::uint16_t> ports[kNodes] = {};
    ClusterPart parts[kProcesses];

    std::uint64_t sum(Counter ClusterPart::* member) const {
        std::uint64_t total = 0;
        for (const ClusterPart& part : parts) { total += (part.*member).load(std::memory_order_relaxed); }
        return total;
    }
    Histogram merged(Histogram ClusterPart::* member) const {
        Histogram out;
        for (const ClusterPart& part : parts) { out.add(part.*member); }
        return out;
    }
};

}  // namespace starling::bench

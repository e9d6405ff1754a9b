#pragma once
// What the protocol between nodes needs to know, the same on every node of a cluster.

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace starling::engine {

// Rules of the protocol switched off, for the simulator alone: each must be caught.
struct Ablation {
    bool r2 = false, r3 = false, r4 = false, r6 = false, r7 = false, r8 = false, r9 = false, r10 = false, r11 = false;
};

struct ClusterSettings {
    std::string node_id;                     // Random for each process; without dots.
    std::string address;
    std::uint32_t shard = 0, shards = 1;     // This engine has the partitions p with p % shards == shard.
    std::string prefix = "st";
    std::uint32_t partitions = 32;
    std::vector<std::string> apps;           // Ids, by index.
    std::string default_app = "default";     // Where plain PUBLISH goes.
    bool ingress = true;
    std::size_t data_bytes = 65536;
    std::size_t channel_bytes = 255;
    Duration heartbeat = 1s;
    Duration linger = 5s;
    Duration lease = 8500ms;
    Duration tombstone = 30s;
    std::uint32_t wire_version = 2;
    std::size_t operations_max = 64;         // In one call.
    std::size_t operation_bytes_max = 32768;
    std::uint32_t snapshot_max = 500;        // Members in one answer; larger channels are paged.
    Ablation off;

    Duration hold() const { return lease + heartbeat; }   // Another node may find Redis a heartbeat later.
    Duration settle() const { return 2 * heartbeat; }
    Duration stale_after() const { return heartbeat * 3 / 2; }
};

}  // namespace starling::engine

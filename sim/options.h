#pragma once
// One run's whole set of options: drawn from its seed, or given; and the faults that will happen in it.

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "engine/settings.h"

namespace starling::sim {

enum class FaultKind : std::uint8_t {
    node_crash, node_pause, node_drain,
    command_block, pubsub_block, partition,          // A node's links to Redis stand still, in one or both directions.
    command_cut, pubsub_cut, links_dead,             // Cut, or dead without a word.
    redis_restart_empty, redis_restart, redis_flush, redis_failover, redis_pause, redis_slow,
    redis_loading, redis_full, redis_readonly, redis_busy, script_flush,
    lose_replies, drop_pushes,
    count,
    // Later faults: drawn from a sequence of their own, so that the seeds before them keep theirs.
    reply_boundary = count,                          // The reply of one script is held or lost, whichever it is.
    slot_move,                                       // A partition's subscriptions are ended by the server.
    redis_split,                                     // An old primary goes on with some of the nodes, then it is gone. Only if asked for.
    drawn_end,
    // Of stories alone: all nodes at once.
    network_down = drawn_end,                        // Nothing goes between them and Redis.
    all_sleep,
    end
};
const char* name(FaultKind kind);

struct Fault {
    FaultKind kind = FaultKind::node_crash;
    Duration at{}, lasts{};
    std::uint32_t node = 0;
    std::uint32_t amount = 0;                // What it means depends on the kind.
    Duration ends() const { return at + lasts; }
};

enum class Mode : std::uint8_t {
    safety,
    liveness,                                // The first node and Redis stay well, and must make progress.
    stories                                  // One story (story.h) in place of drawn faults.
};
std::optional<Mode> mode_of(std::string_view name);

struct Options {
    std::uint64_t seed = 1;
    Mode mode = Mode::safety;
    bool memory = false;                     // One node with the embedded engine, without Redis.
    std::uint32_t nodes = 3, shards = 1, partitions = 2;
    std::uint32_t users = 5, tabs = 8, channels = 3;
    Duration active = 20s, quiet = 0s;       // quiet 0: as long as the bounds want.
    bool drift = true;
    bool sharded = true;                     // Redis 7: sharded pub/sub; else 6.2.
    std::uint32_t operations_max = 64, snapshot_max = 500, scan_whole = 128;
    std::uint32_t history_size = 100;
    std::uint32_t list_limit = 1000;
    Duration silence = 6s;                   // After which a node closes a connection that says nothing.
    std::uint32_t faults_max = 6;
    std::uint32_t later_max = 0;             // Of the later faults ...
    bool splits = false;                     // ... redis_split among them.
    std::uint32_t boundary = 0;              // Not 0: a reply_boundary at this script of the run, and no other fault.
    std::uint32_t next_version = 0;          // A bit for each node that speaks the next wire version ...
    bool next_breaks = false;                // ... which now and then says what this one must understand and does not.
    std::set<std::uint32_t> leave_out;       // Faults by their number; the later ones follow faults_max.
    engine::Ablation off;
    bool trace = false;
    bool digest = false;                     // A hash of the trace, to compare two builds by.
    bool traces() const { return trace || digest; }

    // The timing of the protocol.
    Duration heartbeat = 1s, linger = 5s, lease = 8500ms;
};

// From low to high, both included.
Duration between(Rng& rng, Duration low, Duration high);
// What a seed draws; the command line may change it afterwards.
Options draw_options(std::uint64_t seed, Mode mode);
std::vector<Fault> draw_faults(const Options& options);
// As the command line takes it.
std::string describe(const Options& options);
std::string describe(const Fault& fault);
// The rules that can be switched off.
inline constexpr std::array kRules = {"R2", "R3", "R4", "R6", "R7", "R8", "R9", "R10", "R11"};
// "R4" or "4"; false: there is no such rule.
bool switch_off(engine::Ablation& off, const std::string& rule);

}  // namespace starling::sim

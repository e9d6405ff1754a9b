#include "options.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "story.h"

namespace starling::sim {

namespace {

constexpr const char* kNames[] = {"node_crash", "node_pause", "node_drain", "command_block", "pubsub_block", "partition",
                                  "command_cut", "pubsub_cut", "links_dead", "redis_restart_empty", "redis_restart",
                                  "redis_flush", "redis_failover", "redis_pause", "redis_slow", "redis_loading", "redis_full",
                                  "redis_readonly", "redis_busy", "script_flush", "lose_replies", "drop_pushes",
                                  "reply_boundary", "slot_move", "redis_split", "network_down", "all_sleep"};
static_assert(std::size(kNames) == static_cast<std::size_t>(FaultKind::end));
constexpr std::string_view kModes[] = {"safety", "liveness", "stories"};

using engine::Ablation;
// In the order of kRules.
constexpr bool Ablation::* kSwitches[] = {&Ablation::r2, &Ablation::r3, &Ablation::r4, &Ablation::r6, &Ablation::r7,
                                          &Ablation::r8, &Ablation::r9, &Ablation::r10, &Ablation::r11};
static_assert(std::size(kSwitches) == kRules.size());

std::string seconds(Duration duration) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3f", std::chrono::duration<double>(duration).count());
    return text;
}

}  // namespace

Duration between(Rng& rng, Duration low, Duration high) {
    return low + Duration(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>((high - low).count()) + 1)));
}

const char* name(FaultKind kind) { return kNames[static_cast<std::size_t>(kind)]; }

std::optional<Mode> mode_of(std::string_view name) {
    const auto at = std::ranges::find(kModes, name);
    return at == std::end(kModes) ? std::nullopt : std::optional(static_cast<Mode>(at - std::begin(kModes)));
}

Options draw_options(std::uint64_t seed, Mode mode) {
    Rng rng(seed * 2 + 1);
    Options out;
    out.seed = seed;
    out.mode = mode;
    out.nodes = static_cast<std::uint32_t>(2 + rng.below(3));
    out.shards = rng.below(3) == 0 ? 2 : 1;
    out.partitions = static_cast<std::uint32_t>(out.shards + rng.below(3));
    out.users = static_cast<std::uint32_t>(2 + rng.below(5));
    out.tabs = static_cast<std::uint32_t>(out.users + rng.below(6));
    out.channels = static_cast<std::uint32_t>(1 + rng.below(3));
    out.active = between(rng, 8s, 25s);
    out.drift = rng.below(4) != 0;
    out.sharded = rng.below(4) != 0;
    // Buggify: sizes so small that every edge is met.
    if (rng.below(3) == 0) { out.operations_max = static_cast<std::uint32_t>(1 + rng.below(3)); }
    if (rng.below(3) == 0) { out.snapshot_max = static_cast<std::uint32_t>(rng.below(3)); }
    if (rng.below(3) == 0) { out.scan_whole = 0; }
    if (rng.below(3) == 0) { out.history_size = static_cast<std::uint32_t>(2 + rng.below(10)); }
    if (rng.below(8) == 0) { out.list_limit = static_cast<std::uint32_t>(2 + rng.below(3)); }
    out.silence = between(rng, 3s, 9s);
    out.faults_max = static_cast<std::uint32_t>(rng.below(7));
    Rng later(seed * 2 + 0x1a7e);
    if (later.below(4) == 0) { out.later_max = static_cast<std::uint32_t>(1 + later.below(2)); }
    if (later.below(6) == 0) { out.next_version = static_cast<std::uint32_t>(1 + later.below((1U << out.nodes) - 1)); }
    out.next_breaks = out.next_version != 0 && later.below(3) == 0;
    // A healthy part of the world is not on one side of a split.
    Rng latest(seed * 2 + 0x59117);
    out.splits = mode != Mode::liveness && latest.below(4) == 0;
    if (out.splits) { out.later_max = std::max(out.later_max, 1U); }
    if (mode == Mode::stories) {
        out.faults_max = out.later_max = out.next_version = 0;
        out.splits = out.next_breaks = false;
        out.tabs = out.users;                // Who goes is not held by another tab.
        out.drift = latest.below(2) == 0;
    }
    return out;
}

std::vector<Fault> draw_faults(const Options& options) {
    Rng rng(options.seed * 2 + 0x5eed);
    std::vector<Fault> out;
    if (options.memory) { return out; }
    const bool liveness = options.mode == Mode::liveness;
    for (std::uint32_t i = 0; i < options.faults_max; ++i) {
        Fault fault;
        fault.kind = static_cast<FaultKind>(rng.below(static_cast<std::uint64_t>(FaultKind::count)));
        fault.at = between(rng, 1s, std::max<Duration>(options.active - 1s, 2s));
        const bool is_long = rng.below(3) == 0;
        fault.lasts = is_long ? between(rng, 5s, 15s) : between(rng, 50ms, 5s);
        // In liveness runs the first node is healthy, and so is Redis in the end.
        fault.node = static_cast<std::uint32_t>(liveness ? 1 + rng.below(options.nodes - 1) : rng.below(options.nodes));
        fault.amount = static_cast<std::uint32_t>(rng.below(1000));
        out.push_back(fault);
    }
    std::ranges::stable_sort(out, {}, &Fault::at);
    Rng later(options.seed * 2 + 0xd1ce);
    const auto last = options.splits ? FaultKind::drawn_end : FaultKind::redis_split;
    for (std::uint32_t i = 0; i < options.later_max; ++i) {
        constexpr auto kFirst = static_cast<std::uint64_t>(FaultKind::count);
        Fault fault;
        fault.kind = static_cast<FaultKind>(kFirst + later.below(static_cast<std::uint64_t>(last) - kFirst));
        fault.at = between(later, 1s, std::max<Duration>(options.active - 1s, 2s));
        fault.lasts = later.below(2) == 0 ? between(later, 5s, 15s) : between(later, 50ms, 5s);
        fault.node = static_cast<std::uint32_t>(liveness ? 1 + later.below(options.nodes - 1) : later.below(options.nodes));
        fault.amount = static_cast<std::uint32_t>(later.below(1000000));
        out.push_back(fault);
    }
    if (options.boundary != 0) { out.clear(); }
    if (options.mode == Mode::stories) { out = draw_story(options).faults; }
    std::vector<Fault> kept;
    for (std::uint32_t i = 0; i < out.size(); ++i) {
        if (!options.leave_out.contains(i)) { kept.push_back(out[i]); }
    }
    std::ranges::stable_sort(kept, {}, &Fault::at);
    return kept;
}

std::string describe(const Fault& fault) {
    return std::string(name(fault.kind)) + " at=" + seconds(fault.at) + " lasts=" + seconds(fault.lasts) +
           " node=" + std::to_string(fault.node) + " amount=" + std::to_string(fault.amount);
}

std::string describe(const Options& options) {
    std::string out = "--seed " + std::to_string(options.seed);
    if (options.mode != Mode::safety) { out.append(" --mode ").append(kModes[static_cast<std::size_t>(options.mode)]); }
    const auto number = [&](const char* name, std::uint64_t value) { out += std::string(" ") + name + " " + std::to_string(value); };
    if (options.memory) { out += " --memory"; }
    number("--nodes", options.nodes);
    number("--shards", options.shards);
    number("--partitions", options.partitions);
    number("--users", options.users);
    number("--tabs", options.tabs);
    number("--channels", options.channels);
    number("--active-ns", static_cast<std::uint64_t>(options.active.count()));
    number("--drift", options.drift);
    number("--sharded", options.sharded);
    number("--operations-max", options.operations_max);
    number("--snapshot-max", options.snapshot_max);
    number("--scan-whole", options.scan_whole);
    number("--history", options.history_size);
    number("--list-limit", options.list_limit);
    number("--silence-ns", static_cast<std::uint64_t>(options.silence.count()));
    number("--faults", options.faults_max);
    number("--later", options.later_max);
    number("--splits", options.splits);
    number("--next-version", options.next_version);
    number("--next-breaks", options.next_breaks);
    if (options.boundary != 0) { number("--boundary", options.boundary); }
    for (const auto fault : options.leave_out) { number("--leave-out", fault); }
    for (std::size_t i = 0; i < kRules.size(); ++i) {
        if (options.off.*kSwitches[i]) { out += std::string(" --off ") + kRules[i]; }
    }
    return out;
}

bool switch_off(Ablation& off, const std::string& rule) {
    for (std::size_t i = 0; i < kRules.size(); ++i) {
        if (rule != kRules[i] && "R" + rule != kRules[i]) { continue; }
        off.*kSwitches[i] = true;
        return true;
    }
    return false;
}

}  // namespace starling::sim

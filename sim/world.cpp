// The phases of a run, and the world's small things.
#include "world.h"

#include <algorithm>
#include <cstdio>

#include "base/hash.h"
#include "checks.h"
#include "client.h"
#include "story.h"

namespace starling::sim {

std::string channel_name(std::uint32_t index) {
    static constexpr const char* kChannels[] = {"log:a", "plain:b", "log:c"};
    return kChannels[index % 3];
}

bool keeps_history(std::string_view channel) { return channel.starts_with("log:"); }

World::World(Options options, ScriptHost& host)
    : options_(std::move(options)), host_(host), rng_(options_.seed * 0x9e3779b97f4a7c15ULL + 77),
      settings_(make_settings()), faults_(draw_faults(options_)), nodes_(options_.nodes), tags_(engine::make_tags(options_.partitions)) {
    for (const auto& tag : tags_) { counters_.push_back("st:{" + tag + "}:n"); }
    servers_.push_back(std::make_unique<RedisModel>(redis_options(), random_run_id(), host_));
    servers_.back()->describes = options_.traces();
    for (std::uint32_t i = 0; i < options_.tabs; ++i) {
        clients_.push_back(std::make_unique<Client>(*this, i, "u" + std::to_string(i % options_.users), options_.seed * 1000 + i));
    }
}

World::~World() = default;

std::shared_ptr<const domain::Settings> World::make_settings() const {
    auto settings = std::make_shared<domain::Settings>();
    settings->development = true;
    auto& app = settings->apps.emplace_back();
    app.namespaces.push_back({.name = "", .allow = domain::kAllRights});
    app.namespaces.push_back({.name = "plain", .allow = domain::kAllRights});
    app.namespaces.push_back({.name = "log", .allow = domain::kAllRights, .history_size = options_.history_size, .history_ttl = 3600s});
    settings->frames_per_second = 1e6;
    settings->frames_burst = 1e6;
    settings->linger = options_.linger;
    settings->list_limit = options_.list_limit;
    settings->partitions = options_.partitions;
    settings->resume_secret = "a secret of the simulator, long enough";
    return settings;
}

RedisOptions World::redis_options() const {
    RedisOptions out;
    out.version = options_.sharded ? "7.0.15" : "6.2.14";
    out.scan_whole = options_.scan_whole;
    out.replica = std::ranges::any_of(faults_, [](const Fault& fault) { return fault.kind == FaultKind::redis_failover || fault.kind == FaultKind::redis_split; });
    return out;
}

Duration World::delay() { return Duration(static_cast<std::int64_t>(50000 + rng_.below(rng_.below(20) == 0 ? 30000000 : 2000000))); }

void World::print_trace(const std::string& text) {
    if (options_.digest) { digest_ = hash64(text, digest_ + static_cast<std::uint64_t>(now().time_since_epoch().count())); }
    if (!options_.trace) { return; }
    std::printf("%10.6f %s\n", std::chrono::duration<double>(now().time_since_epoch()).count(), text.c_str());
}

void World::violation(std::string what) {
    trace("VIOLATION ", what);
    if (!violation_) {
        char at[32];
        std::snprintf(at, sizeof at, " (at %.3f)", std::chrono::duration<double>(now().time_since_epoch()).count());
        violation_ = std::move(what) + at;
    }
}

bool World::demands_speed(std::uint32_t node) const {
    if (options_.next_breaks) { return false; }   // What broke a chain is found by the next look.
    if (quiet_ && now() > faults_end_ + 12s) { return true; }
    if (options_.mode != Mode::liveness || node != 0) { return false; }
    const auto here = [&](const Interval& trouble) { return now() >= trouble.from && now() < trouble.to + 6s; };
    if (std::ranges::any_of(record_.redis_away, here) || std::ranges::any_of(record_.redis_slow, here)) { return false; }
    return now() > Instant(3s);
}

std::optional<std::string> World::run() {
    for (std::uint32_t i = 0; i < options_.nodes; ++i) {
        // Not all at once.
        schedule_.after(Duration(1ms) * rng_.below(300), [this, i] { start_node(i); });
    }
    for (auto& client : clients_) { client->start(); }
    if (options_.mode == Mode::stories) {
        for (const Move& move : draw_story(options_).moves) {
            schedule_.at(Instant(move.at), [this, move] { clients_[Story::kTraveller]->move(move); });
        }
    }
    faults_end_ = Instant(options_.active);
    if (options_.boundary != 0) {
        boundary_at_ = options_.boundary;
        boundary_ = {.kind = FaultKind::reply_boundary, .amount = options_.boundary};
    }
    for (const auto& fault : faults_) {
        schedule_.at(Instant(fault.at), [this, fault] { begin_fault(fault); });
        const Duration drained = fault.kind == FaultKind::node_drain ? 2 * options_.linger + 17s : 0s;
        faults_end_ = std::max(faults_end_, Instant(fault.ends() + drained));
    }
    for (Instant t{1s}; t < Instant(600s); t += 1s) {
        if (t > faults_end_) { break; }
        schedule_.at(t, [this] { servers_.back()->replica_caught_up(kWallBaseMs + (now() - 4s).time_since_epoch() / 1ms); });
    }
    const auto run_until = [&](Instant end) { while (!violation_ && schedule_.run_next(end)) {} };
    while (!violation_ && now() < faults_end_) { run_until(faults_end_); }   // A boundary may move the end.
    trace("QUIET");
    quiet_ = true;
    scripts_in_faults_ = scripts_run_;
    // P1's bound: who died with the last fault is given up after a lease that is counted anew from it, and whom the views
    // hold then is let go after the hold time; 10 % for the clocks, and what a few messages take.
    const auto bound = options_.lease + (options_.lease + options_.heartbeat) + 2 * options_.heartbeat;
    const Instant end = faults_end_ + (options_.quiet > 0s ? options_.quiet : bound + bound / 10 + 4s);
    publish_until_ = end - 6s;
    schedule_.at(end - 2s, [this] { probe_nodes(); });
    run_until(end);
    if (!violation_) { Checks(*this).at_rest(); }
    if (!violation_) { Checks(*this).what_was_told(); }
    if (!violation_ && !options_.memory) { Checks(*this).told_in_time(); }
    return violation_;
}

// Each node's own view of each channel, asked by a client of it that is not there.
void World::probe_nodes() {
    for (Node& node : nodes_) {
        if (!node.up) { violation("L1 node " + std::to_string(node.index) + " is not up at rest"); return; }
        const auto wire = connect(kProbeClient, "probe", node.index);
        probes_.push_back({wire, node.index});
        send(wire, R"({"type":"connect","user":"probe"})");
        for (std::uint32_t i = 0; i < std::min<std::uint32_t>(options_.channels, 3); ++i) {
            send(wire, R"({"type":"presence.get","id":)" + std::to_string(i + 1) + R"(,"channel":")" + channel_name(i) + "\"}");
        }
    }
}

void World::on_probe(Wire& wire, const JsonFrame& frame) {
    if (frame.type() != "presence" || !frame.has("users")) { return; }
    std::set<std::string> users;
    for (const auto& user : frame.list("users")) { users.insert(user.text("userId")); }
    Checks(*this).compare_view(frame.text("channel"), users, "the view of node " + std::to_string(wire.node));
}

std::string World::key(const std::string& kind, const std::string& channel, const std::string& rest) const {
    const auto partition = domain::partition_of({0, channel}, options_.partitions);
    return "st:{" + tags_[partition] + "}:" + kind + ":default/" + channel + rest;
}

}  // namespace starling::sim

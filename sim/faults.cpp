// What goes wrong, when its time has come.
#include <algorithm>

#include "world.h"

namespace starling::sim {

std::string World::random_run_id() {
    std::string out;
    for (int i = 0; i < 40; ++i) { out += "0123456789abcdef"[rng_.below(16)]; }
    return out;
}

void World::redis_unwell(Duration lasts) { record_.redis_away.push_back({{now(), now() + lasts}}); }

// The mood that there was ends with this one, or with its server.
void World::mood_ends() {
    if (mood_) { record_.redis_away[*mood_].to = std::min(record_.redis_away[*mood_].to, now()); }
    mood_.reset();
}

void World::pause_ends() {
    if (pause_) { record_.redis_away[*pause_].to = std::min(record_.redis_away[*pause_].to, now()); }
    pause_.reset();
    redis_paused_until_ = {};
}

void World::forget_links(std::uint32_t server) {
    for (auto& link : links_) { if (link->server == server) { link->connection.reset(); } }
    std::erase_if(link_of_, [&](const auto& entry) { return entry.first.first == server; });
}

// The process ends and another one takes its place.
void World::redis_goes(Duration down, bool keep_data, bool silent) {
    mood_ends();
    end_split(silent);
    redis_unwell(down);
    redis_down_until_ = std::max(redis_down_until_, now() + down);
    pause_ends();
    cut_links(std::nullopt, std::nullopt, silent);
    const auto old = servers_.size() - 1;
    auto next = keep_data ? servers_[old]->reborn(random_run_id()) : std::make_unique<RedisModel>(redis_options(), random_run_id(), host_);
    forget_links(static_cast<std::uint32_t>(old));
    if (!keep_data) { loss(); }
    next->describes = options_.traces();
    servers_.push_back(std::move(next));
}

// The replica takes over: what was written in the last moments is gone.
void World::fail_over(Duration lost, Duration down, bool silent) {
    mood_ends();
    end_split(silent);
    redis_unwell(down);
    redis_down_until_ = std::max(redis_down_until_, now() + down);
    pause_ends();
    cut_links(std::nullopt, std::nullopt, silent);
    const auto old = servers_.size() - 1;
    const auto seen = kWallBaseMs + (now() - lost).time_since_epoch() / 1ms;
    auto next = servers_[old]->promote(random_run_id(), seen);
    forget_links(static_cast<std::uint32_t>(old));
    loss();
    lost_.push_back({now() - lost - 100ms, now()});
    next->describes = options_.traces();
    servers_.push_back(std::move(next));
}

std::uint32_t World::server_of(std::uint32_t node) const {
    if (old_primary_ && splits_.back().with_old(node)) { return *old_primary_; }
    return static_cast<std::uint32_t>(servers_.size() - 1);
}

// A Sentinel failover while the primary is only cut off from the others: nodes that see the switch go to the new one, which
// lacks the last moments; the rest go on writing to the old one until it is gone, and nothing of that is kept.
void World::split(const Fault& fault) {
    end_split(false);
    mood_ends();                             // The new primary is well, and who is with it can tell who is silent.
    const std::uint32_t all = (1U << options_.nodes) - 1;
    const Instant until = now() + fault.lasts;
    const Duration lost = Duration(1ms) * (fault.amount / 1000 % 3000);
    old_primary_ = static_cast<std::uint32_t>(servers_.size() - 1);
    splits_.push_back({now(), until, 1 + fault.amount % (all - 1)});
    auto next = servers_.back()->promote(random_run_id(), kWallBaseMs + (now() - lost).time_since_epoch() / 1ms);
    next->describes = options_.traces();
    servers_.push_back(std::move(next));
    redis_unwell(200ms);
    loss();
    lost_.push_back({now() - lost - 100ms, until});
    for (std::uint32_t node = 0; node < options_.nodes; ++node) {
        if (!splits_.back().with_old(node)) { cut_links(node, std::nullopt, false); }
    }
    schedule_.at(until, [this, number = splits_.size(), silent = fault.amount % 4 == 0] {
        if (splits_.size() == number) { end_split(silent); }
    });
}

void World::end_split(bool silent) {
    if (!old_primary_) { return; }
    trace("the old primary is gone");
    const std::uint32_t old = *old_primary_;
    const Split& split = splits_.back();
    for (std::uint32_t node = 0; node < options_.nodes; ++node) {
        if (split.with_old(node)) { cut_links(node, std::nullopt, silent); }
    }
    old_primary_.reset();
    splits_.back().to = now();
    forget_links(old);
    redis_unwell(200ms);
    loss();
}

// The reply of one script, whichever it happens to be: late, or lost with its link or without a word.
void World::on_boundary(std::uint32_t id, const Fault& fault) {
    Link& link = *links_[id];
    if (options_.mode == Mode::liveness && link.node == 0) { ++boundary_at_; return; }
    const Duration lasts = Duration(1ms) * (100 + fault.amount * 7919ULL % 12000);
    Fault done{.kind = FaultKind::command_block, .at = now().time_since_epoch(), .lasts = lasts, .node = link.node, .amount = fault.amount};
    switch (fault.amount % 3) {
        case 0: link.to_node = std::max(link.to_node, now() + lasts); break;
        case 1: done.kind = FaultKind::command_cut; done.lasts = 0s; break;
        default: done.kind = FaultKind::links_dead; done.lasts = 0s; break;
    }
    trace("BOUNDARY ", scripts_run_, " of node ", link.node, ": ", describe(done));
    faults_.push_back(done);
    faults_end_ = std::max(faults_end_, Instant(done.ends()));
    if (fault.amount % 3 == 0) { return; }
    servers_[link.server]->forget_replies(*link.connection);
    if (fault.amount % 3 == 1) { close_link(id, true, "cut before the reply"); } else { link.dead = true; }
}

// As in Redis Cluster, where a partition's slot is taken over: the old server ends the subscriptions, and what is published until
// they are made anew reaches nobody.
void World::move_slot(const Fault& fault) {
    const auto& tag = tags_[fault.amount % tags_.size()];
    servers_.back()->end_subscriptions("{" + tag + "}");
    push_out(static_cast<std::uint32_t>(servers_.size() - 1));
}

void World::loss() {
    record_.losses.push_back(now());
}

void World::mood(RedisMood mood, Duration lasts) {
    mood_ends();
    redis_unwell(lasts);
    record_.redis_away.back().new_primary = old_primary_.has_value();
    mood_ = record_.redis_away.size() - 1;
    RedisModel* server = servers_.back().get();
    server->mood = mood;
    schedule_.after(lasts, [server, mood] { if (server->mood == mood) { server->mood = RedisMood::well; } });
}

void World::begin_fault(const Fault& fault) {
    trace("FAULT ", describe(fault));
    Node& node = nodes_[fault.node];
    const Instant until = now() + fault.lasts;
    const bool sometimes = fault.amount % 4 == 0;
    const auto block = [&](int kind) {
        // Both ways, or one alone.
        if (fault.amount % 3 != 1) { node.blocked[kind][0] = std::max(node.blocked[kind][0], until); }
        if (fault.amount % 3 != 2) { node.blocked[kind][1] = std::max(node.blocked[kind][1], until); }
    };
    const auto cut_off = [&](Node& from_redis) {
        for (auto& kind : from_redis.blocked) { for (auto& way : kind) { way = std::max(way, until); } }
    };
    using enum FaultKind;
    switch (fault.kind) {
        case node_crash: {
            crash_node(fault.node, sometimes);
            schedule_.at(until, [this, index = fault.node] { if (!nodes_[index].up) { start_node(index); } });
            break;
        }
        case node_pause: pause_node(fault.node, fault.lasts); break;
        case node_drain: drain_node(fault.node, std::min<Duration>(fault.lasts, 5s)); break;
        case command_block: block(0); break;
        case pubsub_block: block(1); break;
        case partition:
            cut_off(node);
            break;
        case command_cut: cut_links(sometimes ? std::nullopt : std::optional(fault.node), false, false); break;
        case pubsub_cut: cut_links(sometimes ? std::nullopt : std::optional(fault.node), true, false); break;
        case links_dead: cut_links(fault.node, fault.amount % 2 == 0 ? std::optional(fault.amount % 3 == 0) : std::nullopt, true); break;
        case redis_restart_empty: redis_goes(fault.lasts, false, sometimes); break;
        case redis_restart: redis_goes(fault.lasts, true, sometimes); break;
        case redis_flush:
            servers_.back()->flush_all();
            loss();
            break;
        case redis_failover: fail_over(Duration(1ms) * (fault.amount * 3), std::min<Duration>(fault.lasts, 8s), sometimes); break;
        case redis_pause:
            redis_unwell(fault.lasts);
            pause_ = record_.redis_away.size() - 1;
            redis_paused_until_ = std::max(redis_paused_until_, until);
            break;
        case redis_slow:
            record_.redis_slow.push_back({now(), until});
            redis_slow_ = Duration(1ms) * (1 + fault.amount % 50);
            schedule_.at(until, [this] { redis_slow_ = {}; });
            break;
        case redis_loading: mood(RedisMood::loading, fault.lasts); break;
        case redis_full: mood(RedisMood::full, fault.lasts); break;
        case redis_readonly: mood(RedisMood::readonly, fault.lasts); break;
        case redis_busy: mood(RedisMood::busy, fault.lasts); break;
        case script_flush: servers_.back()->forget_scripts(); break;
        case lose_replies:
            lose_replies_ = 20 + fault.amount % 200;
            schedule_.at(until, [this] { lose_replies_ = 0; });
            break;
        case drop_pushes:
            drop_pushes_ = 50 + fault.amount % 300;
            schedule_.at(until, [this] { drop_pushes_ = 0; });
            break;
        case redis_split: split(fault); break;
        case reply_boundary:
            boundary_at_ = scripts_run_ + 1 + fault.amount / 1000 % 40;
            boundary_ = fault;
            break;
        case slot_move: move_slot(fault); break;
        case network_down:
            // 1.5 heartbeats by a clock that is slow by 5 %.
            if (fault.lasts > options_.heartbeat * 16 / 10) { record_.standstills.push_back({now(), until}); }
            redis_unwell(fault.lasts);
            for (Node& each : nodes_) { cut_off(each); }
            break;
        case all_sleep:
            record_.standstills.push_back({now(), until});
            for (const Node& each : nodes_) { pause_node(each.index, fault.lasts); }
            break;
        case end: break;
    }
}

}  // namespace starling::sim

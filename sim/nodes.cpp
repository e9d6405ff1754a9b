// Nodes: their turns, clocks, pauses and ends.
#include <cmath>

#include "describe.h"
#include "engine/cluster.h"
#include "engine/memory.h"
#include "json_frame.h"
#include "world.h"

namespace starling::sim {

namespace {

constexpr Duration kClockBase = 1000s;       // No clock begins at 0.
constexpr std::uint32_t kSpinsMax = 2000;

}  // namespace

Instant World::local(const Node& node, Instant time) const {
    const double passed = static_cast<double>(time.time_since_epoch().count()) * node.rate;
    return Instant(kClockBase + node.offset + Duration(static_cast<std::int64_t>(passed)));
}

Instant World::global(const Node& node, Instant local_time) const {
    const double passed = static_cast<double>((local_time.time_since_epoch() - kClockBase - node.offset).count());
    Instant out(Duration(static_cast<std::int64_t>(std::ceil(passed / node.rate))));
    while (local(node, out) < local_time) { out += 1ns; }   // Rounding must not wake it too early for ever.
    return out;
}

Now World::node_now(const Node& node) const {
    return {local(node, now()), kWallBaseMs + node.wall_offset_ms + now().time_since_epoch() / 1ms};
}

void World::start_node(std::uint32_t index) {
    Node& node = nodes_[index];
    node.index = index;
    node.id = rng_.word(8);
    ++node.life;
    node.up = true;
    node.draining = false;
    node.paused_until = {};
    node.backlog.clear();
    node.offset = Duration(static_cast<std::int64_t>(rng_.below(1000000000)));
    node.rate = options_.drift ? 0.95 + static_cast<double>(rng_.below(1001)) / 10000 : 1;
    node.wall_offset_ms = static_cast<std::int64_t>(rng_.below(4000)) - 2000;
    node.boxes.clear();
    record_.lives[{index, node.life}].began = now();
    trace("node ", index, " starts as ", node.id);
    const Now local_now = node_now(node);
    for (std::uint32_t shard = 0; shard < options_.shards; ++shard) {
        Box& box = node.boxes.emplace_back();
        domain::ShardIdentity identity;
        identity.node_id = node.id;
        identity.address = "10.0.0." + std::to_string(index);
        identity.version = "sim";
        identity.index = shard;
        identity.count = options_.shards;
        identity.seed = rng_.next();
        box.shard = std::make_unique<domain::Shard>(std::move(identity), settings_, local_now);
        if (options_.memory) {
            box.engine = std::make_unique<engine::Memory>(options_.linger, rng_.next());
            continue;
        }
        engine::ClusterSettings cluster;
        cluster.node_id = node.id;
        cluster.address = "10.0.0." + std::to_string(index);
        cluster.shard = shard;
        cluster.shards = options_.shards;
        cluster.partitions = options_.partitions;
        cluster.apps = {"default"};
        cluster.heartbeat = options_.heartbeat;
        cluster.linger = options_.linger;
        cluster.lease = options_.lease;
        cluster.operations_max = options_.operations_max;
        cluster.snapshot_max = options_.snapshot_max;
        cluster.off = options_.off;
        if ((options_.next_version >> index & 1) != 0) { ++cluster.wire_version; }
        engine::RedisSettings redis;
        redis.servers = {{"redis", 6379}};
        redis.heartbeat = options_.heartbeat;
        redis.lease = options_.lease;
        box.engine = std::make_unique<engine::Cluster>(std::move(cluster), std::move(redis), rng_.next());
    }
    in_node(index, node.life, [this, index] {
        Node& started = nodes_[index];
        for (std::uint32_t shard = 0; shard < started.boxes.size(); ++shard) {
            engine::Output output;
            started.boxes[shard].engine->start(node_now(started), output);
            take(started, shard, output);
        }
    });
}

void World::crash_node(std::uint32_t index, bool silent) {
    Node& node = nodes_[index];
    if (!node.up) { return; }
    trace("node ", index, silent ? " vanishes" : " crashes");
    node.up = false;
    node.boxes.clear();
    node.backlog.clear();
    record_.lives[{index, node.life}].crashed = now();
    for (auto& wire : wires_) {
        if (wire->node != index || wire->life != node.life || !wire->session) { continue; }
        wire->session.reset();
        record_.end_all(wire->id, false, true, now());
        record_.told.push_back({Told::Kind::end, now(), wire->id, {}, {}});
        if (silent || !wire->client_open) { wire->silent = true; continue; }
        tell_client_closed(*wire, 1006);
    }
    for (std::uint32_t i = 0; i < links_.size(); ++i) {
        if (links_[i]->node == index && links_[i]->life == node.life && links_[i]->connection && !silent) {
            schedule_.after(delay(), [this, i] { close_link(i, false, "node gone"); });
        }
    }
}

void World::pause_node(std::uint32_t index, Duration lasts) {
    Node& node = nodes_[index];
    if (!node.up) { return; }
    trace("node ", index, " pauses");
    node.paused_until = std::max(node.paused_until, now() + lasts);
    const std::uint64_t life = node.life;
    schedule_.at(node.paused_until, [this, index, life] {
        Node& resumed = nodes_[index];
        if (!resumed.up || resumed.life != life || now() < resumed.paused_until) { return; }
        trace("node ", index, " goes on");
        auto backlog = std::exchange(resumed.backlog, {});
        for (auto& action : backlog) { in_node(index, life, std::move(action)); }
        for (std::uint32_t shard = 0; shard < resumed.boxes.size(); ++shard) { wake(index, life, shard); }
    });
}

void World::drain_node(std::uint32_t index, Duration window) {
    Node& node = nodes_[index];
    if (!node.up || node.draining) { return; }
    trace("node ", index, " drains");
    node.draining = true;
    const std::uint64_t life = node.life;
    record_.lives[{index, life}].drains = now();
    in_node(index, life, [this, index, window] {
        Node& draining = nodes_[index];
        for (std::uint32_t shard = 0; shard < draining.boxes.size(); ++shard) {
            Box& box = draining.boxes[shard];
            box.shard->on_drain(window, node_now(draining), box.effects);
            domain::EngineCall call = domain::Retire{};
            engine::Output output;
            box.engine->on_call(call, node_now(draining), output);
            take(draining, shard, output);
        }
    });
    watch_drain(index, life, now() + window + 2 * options_.linger + 10s);
}

// The process ends when nothing is left to do, or is killed in the end.
void World::watch_drain(std::uint32_t index, std::uint64_t life, Instant killed) {
    schedule_.after(500ms, [this, index, life, killed] {
        Node& node = nodes_[index];
        if (!node.up || node.life != life) { return; }
        bool idle = now() >= node.paused_until;
        for (const Box& box : node.boxes) { idle = idle && box.shard->idle() && box.engine->idle(); }
        if (idle || now() >= killed) {
            trace("node ", index, idle ? " has drained" : " is killed while it drains");
            crash_node(index, false);
            schedule_.after(1s, [this, index] { if (!nodes_[index].up) { start_node(index); } });
            return;
        }
        watch_drain(index, life, killed);
    });
}

void World::settle(Node& node) {
    for (bool busy = true; busy;) {
        busy = false;
        for (std::uint32_t shard = 0; shard < node.boxes.size(); ++shard) {
            Box& box = node.boxes[shard];
            while (!box.inbox.empty()) {
                const auto mail = std::move(box.inbox.front());
                box.inbox.pop_front();
                box.shard->on_mail(*mail, node_now(node), box.effects);
                busy = true;
            }
            while (!box.effects.empty()) {
                domain::Effects batch;
                batch.swap(box.effects);
                for (auto& effect : batch) { perform(node, shard, effect); }
                busy = true;
            }
        }
    }
    for (std::uint32_t shard = 0; shard < node.boxes.size(); ++shard) {
        Box& box = node.boxes[shard];
        auto due = box.shard->next_deadline();
        const auto other = box.engine->next_deadline();
        if (other && (!due || *other < *due)) { due = other; }
        if (!due) { continue; }
        const Instant at = std::max(global(node, *due), now());
        if (box.wakes && *box.wakes <= at) { continue; }
        box.wakes = at;
        schedule_.at(at, [this, index = node.index, life = node.life, shard] { wake(index, life, shard); });
    }
}

void World::wake(std::uint32_t index, std::uint64_t life, std::uint32_t shard) {
    Node& node = nodes_[index];
    if (!node.up || node.life != life || now() < node.paused_until) { return; }
    Box& box = node.boxes[shard];
    if (box.wakes && now() < *box.wakes) { return; }   // An earlier plan; the later one still stands.
    box.wakes.reset();
    if (box.spun_at == now()) {
        if (++box.spins > kSpinsMax) {
            const auto own = box.shard->next_deadline();
            violation(std::string("a shard spins: the deadline of its ") +
                      (own && *own <= local(node, now()) ? "domain" : "engine") + " never passes");
            return;
        }
    } else {
        box.spun_at = now();
        box.spins = 0;
    }
    in_node(index, life, [this, index, shard] {
        Node& woken = nodes_[index];
        Box& its = woken.boxes[shard];
        const Now local_now = node_now(woken);
        if (const auto due = its.shard->next_deadline(); due && *due <= local_now.instant) {
            its.shard->on_deadline(local_now, its.effects);
        }
        if (const auto due = its.engine->next_deadline(); due && *due <= local_now.instant) {
            engine::Output output;
            its.engine->on_deadline(local_now, output);
            take(woken, shard, output);
        }
    });
}

void World::take(Node& node, std::uint32_t shard, engine::Output& output) {
    Box& box = node.boxes[shard];
    for (auto& event : output.events) {
        if (options_.traces()) { trace("node ", node.index, ".", shard, " engine: ", describe(event)); }
        box.shard->on_engine(event, node_now(node), box.effects);
    }
    for (auto& action : output.actions) { act(node, shard, action); }
    output.events.clear();
    output.actions.clear();
}

// A ping, which whoever is there answers after a way there and back.
void World::probe(Node& node, std::uint32_t shard, domain::SessionId session) {
    Wire* wire = wire_of(node, shard, session);
    if (wire == nullptr) { return; }
    trace("node ", node.index, " probes wire ", wire->id);
    const Instant back = std::max(wire->to_node, now() + delay() + delay());
    schedule_.at(back, [this, id = wire->id, shard, session] {
        const Wire& asked = *wires_[id];
        if (asked.silent || !asked.client_open) { return; }
        in_node(asked.node, asked.life, [this, index = asked.node, shard, session] {
            Node& alive = nodes_[index];
            alive.boxes[shard].shard->on_alive(session, node_now(alive), alive.boxes[shard].effects);
        });
    });
}

void World::perform(Node& node, std::uint32_t shard, domain::Effect& effect) {
    Box& box = node.boxes[shard];
    if (auto* send = std::get_if<domain::Send>(&effect)) {
        to_client(node, shard, send->session, std::make_shared<const JsonFrame>(std::string(send->text.view())));
    } else if (auto* fanout = std::get_if<domain::Fanout>(&effect)) {
        const auto frame = std::make_shared<const JsonFrame>(std::string(fanout->text.view()));
        for (const auto session : fanout->sessions) { to_client(node, shard, session, frame); }
    } else if (auto* close = std::get_if<domain::Close>(&effect)) {
        if (Wire* wire = wire_of(node, shard, close->session)) { server_closes(*wire, close->code); }
    } else if (auto* hold = std::get_if<domain::HoldInput>(&effect)) {
        Wire* wire = wire_of(node, shard, hold->session);
        if (wire == nullptr) { return; }
        wire->held = hold->hold;
        if (!wire->held) {
            schedule_.after(0s, [this, id = wire->id] { feed_waiting(id); });
        }
    } else if (auto* mail = std::get_if<domain::MailTo>(&effect)) {
        if (mail->shard == shard) {
            box.shard->on_mail(*mail->mail, node_now(node), box.effects);
        } else {
            node.boxes[mail->shard].inbox.push_back(std::move(mail->mail));
        }
    } else if (auto* asked = std::get_if<domain::Probe>(&effect)) {
        probe(node, shard, asked->session);
    } else if (auto* ask = std::get_if<domain::AskEngine>(&effect)) {
        engine::Output output;
        if (options_.traces()) { trace("node ", node.index, ".", shard, " asks: ", describe(*ask->call)); }
        box.engine->on_call(*ask->call, node_now(node), output);
        take(node, shard, output);
    }
}

}  // namespace starling::sim

// Links between engines and Redis: bytes in order, late, held, cut, or gone without a word.
#include "world.h"

namespace starling::sim {

namespace {

constexpr int kToRedis = 0, kFromRedis = 1;

}  // namespace

void World::act(Node& node, std::uint32_t shard, engine::Action& action) {
    const auto key = [&](engine::LinkId id) { return std::tuple{node.index, node.life, shard, id}; };
    if (const auto* connect = std::get_if<engine::Connect>(&action)) {
        const auto id = static_cast<std::uint32_t>(links_.size());
        auto link = std::make_unique<Link>();
        link->node = node.index;
        link->shard = shard;
        link->life = node.life;
        link->id = connect->link;
        links_.push_back(std::move(link));
        link_index_[key(connect->link)] = id;
        schedule_.at(arrival(*links_[id], kToRedis), [this, id] { open_link(id); });
        return;
    }
    if (auto* write = std::get_if<engine::Write>(&action)) {
        const auto it = link_index_.find(key(write->link));
        if (it == link_index_.end()) { return; }
        Link& link = *links_[it->second];
        if (link.dead) { return; }
        schedule_.at(arrival(link, kToRedis), [this, id = it->second, bytes = std::move(write->bytes)] { at_redis(id, bytes); });
        return;
    }
    const auto it = link_index_.find(key(std::get<engine::Disconnect>(action).link));
    if (it == link_index_.end()) { return; }
    const auto id = it->second;
    link_index_.erase(it);
    links_[id]->left = true;
    // What was written before still goes, then Redis sees the end.
    if (!links_[id]->dead) { schedule_.at(arrival(*links_[id], kToRedis), [this, id] { close_link(id, false, "left"); }); }
}

// When bytes that are sent now arrive: after those before them, and not while the way is blocked.
Instant World::arrival(Link& link, int way) {
    Instant& last = way == kToRedis ? link.to_redis : link.to_node;
    const Instant blocked = nodes_[link.node].life == link.life ? nodes_[link.node].blocked[link.pubsub][way] : Instant{};
    last = std::max({last, now() + delay(), blocked});
    return last;
}

void World::open_link(std::uint32_t id) {
    Link& link = *links_[id];
    if (link.left || link.dead) { return; }
    if (now() < redis_down_until_) {
        close_link(id, true, "connection refused");
        return;
    }
    link.server = server_of(link.node);
    link.connection = servers_[link.server]->open();
    if ((options_.next_version >> link.node & 1) != 0) { servers_[link.server]->speaks_next(*link.connection, options_.next_breaks); }
    link_of_[{link.server, *link.connection}] = id;
    schedule_.at(arrival(link, kFromRedis), [this, id] {
        const Link& opened = *links_[id];
        if (opened.left || opened.dead || !opened.connection) { return; }
        in_node(opened.node, opened.life, [this, id] {
            const Link& mine = *links_[id];
            if (mine.left) { return; }
            engine::Output output;
            Node& node = nodes_[mine.node];
            node.boxes[mine.shard].engine->on_connected(mine.id, node_now(node), output);
            take(node, mine.shard, output);
        });
    });
}

void World::close_link(std::uint32_t id, bool tell_node, const char* why) {
    Link& link = *links_[id];
    if (link.connection) {
        servers_[link.server]->close(*link.connection);
        link_of_.erase({link.server, *link.connection});
        link.connection.reset();
    }
    if (!tell_node || link.left || link.dead) { return; }
    schedule_.at(arrival(link, kFromRedis), [this, id, why] {
        in_node(links_[id]->node, links_[id]->life, [this, id, why] {
            Link& mine = *links_[id];
            if (mine.left) { return; }
            mine.left = true;
            link_index_.erase({mine.node, mine.life, mine.shard, mine.id});
            engine::Output output;
            Node& node = nodes_[mine.node];
            node.boxes[mine.shard].engine->on_closed(mine.id, why, node_now(node), output);
            take(node, mine.shard, output);
        });
    });
}

void World::at_redis(std::uint32_t id, const std::string& bytes) {
    const Link& link = *links_[id];
    if (!link.connection || link.dead) { return; }
    servers_[link.server]->feed(*link.connection, bytes);
    serve(id);
}

// Redis does one thing after another; while it is paused or slow, what came waits.
void World::serve(std::uint32_t id) {
    while (links_[id]->connection) {
        if (now() < redis_paused_until_) {
            schedule_.at(redis_paused_until_, [this, id] { serve(id); });
            return;
        }
        Link& link = *links_[id];
        RedisModel& server = *servers_[link.server];
        const bool lose = lose_replies_ > 0 && rng_.below(1000) < lose_replies_;
        const auto step = server.step(*link.connection, kWallBaseMs + now().time_since_epoch() / 1ms, lose);
        if (!step) {
            if (server.closed(*link.connection)) { close_link(id, true, "closed by Redis"); }
            return;
        }
        for (std::uint32_t i = 0; !step->renewed.empty() && i < tags_.size(); ++i) {
            if (step->renewed == counters_[i]) { record_.lives[{link.node, link.life}].contact[i].push_back(now()); }
        }
        if (step->name.ends_with("subscribe")) { link.pubsub = true; }
        if (options_.traces() && step->name != "publish" && step->name != "spublish") {
            trace("redis < node ", link.node, " link ", id, " ", step->text, lose ? " (reply lost)" : "");
        }
        if (step->script && ++scripts_run_ == boundary_at_ && !quiet_) { on_boundary(id, boundary_); }
        push_out(link.server);
        if (lose) { close_link(id, true, "cut before the reply"); }
        if (redis_slow_ > 0ns) { redis_paused_until_ = now() + redis_slow_; }
    }
}

void World::push_out(std::uint32_t server) {
    for (auto& outgoing : servers_[server]->take_output()) {
        const auto it = link_of_.find({server, outgoing.connection});
        if (it == link_of_.end()) { continue; }
        const auto id = it->second;
        if (links_[id]->dead) { continue; }
        if (outgoing.push && drop_pushes_ > 0 && rng_.below(1000) < drop_pushes_) {
            trace("redis drops a push to link ", id);
            continue;
        }
        if (options_.traces()) {
            std::string shown = outgoing.bytes.substr(0, 400);
            for (std::size_t at = 0; (at = shown.find("\r\n", at)) != std::string::npos;) { shown.replace(at, 2, " "); }
            trace("redis > node ", links_[id]->node, " link ", id, " ", shown);
        }
        schedule_.at(arrival(*links_[id], kFromRedis), [this, id, bytes = std::move(outgoing.bytes)]() mutable {
            in_node(links_[id]->node, links_[id]->life, [this, id, bytes = std::move(bytes)] {
                const Link& mine = *links_[id];
                if (mine.left || mine.dead) { return; }
                engine::Output output;
                Node& node = nodes_[mine.node];
                node.boxes[mine.shard].engine->on_bytes(mine.id, bytes, node_now(node), output);
                take(node, mine.shard, output);
            });
        });
    }
}

void World::cut_links(std::optional<std::uint32_t> node, std::optional<bool> pubsub, bool dead) {
    for (std::uint32_t id = 0; id < links_.size(); ++id) {
        Link& link = *links_[id];
        if (!link.connection || link.left || (node && link.node != *node) || (pubsub && link.pubsub != *pubsub)) { continue; }
        if (dead) {
            link.dead = true;
        } else {
            close_link(id, true, "cut");
        }
    }
}

}  // namespace starling::sim

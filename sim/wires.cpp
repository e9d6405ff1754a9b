// Clients' connections: frames both ways, in order, late, or never.
#include "client.h"
#include "json_frame.h"
#include "world.h"

namespace starling::sim {

namespace {

// protocol.md section 3: presence ends at once after these; after the others it lingers.
bool ends_at_once(std::uint16_t code) {
    switch (code) {
        case 1001: case 1005: case 1006: case 1012: case 4002: case 4007: case 4008: case 4009: case 4010: return false;
        default: return true;
    }
}

}  // namespace

std::optional<std::uint32_t> World::pick_node(Rng& rng) {
    std::vector<std::uint32_t> fit;
    for (const Node& node : nodes_) { if (node.up && !node.draining) { fit.push_back(node.index); } }
    if (fit.empty()) { return std::nullopt; }
    return fit[rng.below(fit.size())];
}

std::uint32_t World::connect(std::uint32_t client, const std::string& user, std::uint32_t index) {
    const Node& node = nodes_[index];
    const auto id = static_cast<std::uint32_t>(wires_.size());
    auto wire = std::make_unique<Wire>();
    wire->id = id;
    wire->client = client;
    wire->node = index;
    wire->life = node.life;
    wire->shard = static_cast<std::uint32_t>(rng_.below(options_.shards));
    wire->user = user;
    wire->opened = now();
    wires_.push_back(std::move(wire));
    wires_[id]->to_node = now() + delay();
    trace("client ", client, " (", user, ") connects to node ", index, " wire ", id);
    schedule_.at(wires_[id]->to_node, [this, id] {
        Wire& opened = *wires_[id];
        const Node& at = nodes_[opened.node];
        if (!at.up || at.life != opened.life || at.draining) {
            tell_client_closed(opened, 1006);
            return;
        }
        in_node(opened.node, opened.life, [this, id] {
            Wire& mine = *wires_[id];
            Node& its = nodes_[mine.node];
            if (!mine.client_open) { return; }
            Box& box = its.boxes[mine.shard];
            mine.session = box.shard->on_open({.app = 0, .token = {}}, node_now(its), box.effects);
            box.wires[{mine.session->slot, mine.session->generation}] = id;
            mine.heard = now();
        });
    });
    return id;
}

void World::send(std::uint32_t id, std::string frame) {
    Wire& wire = *wires_[id];
    if (wire.silent || !wire.client_open) { return; }
    trace("client ", wire.client, " wire ", id, " > ", frame);
    wire.to_node = std::max(wire.to_node, now() + delay());
    schedule_.at(wire.to_node, [this, id, frame = std::move(frame)]() mutable {
        const Wire& sent = *wires_[id];
        if (sent.silent) { return; }
        in_node(sent.node, sent.life, [this, id, frame = std::move(frame)]() mutable {
            Wire& mine = *wires_[id];
            if (!mine.session) { return; }
            if (mine.held || !mine.waiting.empty()) {
                mine.waiting.push_back(std::move(frame));
            } else {
                deliver_frame(id, frame);
            }
        });
    });
}

void World::feed_waiting(std::uint32_t id) {
    in_node(wires_[id]->node, wires_[id]->life, [this, id] {
        Wire& wire = *wires_[id];
        while (wire.session && !wire.held && !wire.waiting.empty()) {
            const std::string frame = std::move(wire.waiting.front());
            wire.waiting.pop_front();
            deliver_frame(id, frame);
            settle(nodes_[wire.node]);
        }
    });
}

void World::deliver_frame(std::uint32_t id, const std::string& frame) {
    Wire& wire = *wires_[id];
    Node& node = nodes_[wire.node];
    wire.heard = now();
    if (frame.starts_with(R"({"type":"subscribe")")) {
        const JsonFrame in(frame);
        if (in.has("presence")) { record_.open(id, wire.user, in.text("channel"), wire.node, wire.life, in.number("id"), now()); }
    } else if (frame.starts_with(R"({"type":"unsubscribe")")) {
        const JsonFrame in(frame);
        record_.end(id, in.text("channel"), true, now());
        wire.leaving.insert(in.text("channel"));
        record_.told.push_back({Told::Kind::end, now(), id, in.text("channel"), {}});
    }
    Box& box = node.boxes[wire.shard];
    box.shard->on_text(*wire.session, frame, node_now(node), box.effects);
}

// By the client: with a close frame, or broken.
void World::close(std::uint32_t id, std::uint16_t code) {
    Wire& wire = *wires_[id];
    if (!wire.client_open) { return; }
    wire.client_open = false;
    if (!wire.gone) { wire.gone = now(); }
    trace("client ", wire.client, " wire ", id, " closes ", code);
    if (wire.silent) { return; }
    wire.to_node = std::max(wire.to_node, now() + delay());
    schedule_.at(wire.to_node, [this, id, code] {
        if (wires_[id]->silent) { return; }
        in_node(wires_[id]->node, wires_[id]->life, [this, id, code] { end_session(*wires_[id], code); });
    });
}

void World::go_silent(std::uint32_t id) {
    Wire& wire = *wires_[id];
    wire.silent = true;
    if (!wire.gone) { wire.gone = now(); }
    trace("client ", wire.client, " wire ", id, " goes silent");
    // The node's pings are not answered any more.
    const Duration patience = options_.silence + Duration(static_cast<std::int64_t>(rng_.below(1000000000)));
    schedule_.after(patience, [this, id] {
        in_node(wires_[id]->node, wires_[id]->life, [this, id] { end_session(*wires_[id], 4009); });
    });
}

void World::end_session(Wire& wire, std::uint16_t code) {
    if (!wire.session) { return; }
    Node& node = nodes_[wire.node];
    Box& box = node.boxes[wire.shard];
    const auto session = *wire.session;
    wire.session.reset();
    wire.waiting.clear();
    box.wires.erase({session.slot, session.generation});
    trace("node ", wire.node, " wire ", wire.id, " ended ", code);
    note_end(wire, code);
    box.shard->on_closed(session, code, node_now(node), box.effects);
}

void World::note_end(Wire& wire, std::uint16_t code) {
    record_.end_all(wire.id, ends_at_once(code), false, now());
    // Behind a request that takes long, an `unsubscribe` is done with the end of the session, not when it came.
    for (const auto& channel : std::exchange(wire.leaving, {})) { record_.farewells.push_back({Told::Kind::end, now(), wire.id, channel, wire.user}); }
    record_.told.push_back({Told::Kind::end, now(), wire.id, {}, {}});
}

void World::server_closes(Wire& wire, std::uint16_t code) {
    Box& box = nodes_[wire.node].boxes[wire.shard];
    box.wires.erase({wire.session->slot, wire.session->generation});
    wire.session.reset();                    // The domain has forgotten it already.
    wire.waiting.clear();
    trace("node ", wire.node, " wire ", wire.id, " closes ", code);
    note_end(wire, code);
    tell_client_closed(wire, code);
}

void World::tell_client_closed(Wire& wire, std::uint16_t code) {
    if (wire.silent || !wire.client_open || wire.client == kProbeClient) { return; }
    wire.to_client = std::max(wire.to_client, now() + delay());
    schedule_.at(wire.to_client, [this, id = wire.id, code] {
        Wire& closed = *wires_[id];
        if (closed.silent || !closed.client_open) { return; }
        closed.client_open = false;
        clients_[closed.client]->on_closed(id, code);
    });
}

Wire* World::wire_of(Node& node, std::uint32_t shard, domain::SessionId session) {
    const auto& wires = node.boxes[shard].wires;
    const auto it = wires.find({session.slot, session.generation});
    return it == wires.end() ? nullptr : wires_[it->second].get();
}

void World::to_client(Node& node, std::uint32_t shard, domain::SessionId session, const std::shared_ptr<const JsonFrame>& frame) {
    Wire* wire = wire_of(node, shard, session);
    if (wire == nullptr) { return; }
    if (wire->client == kProbeClient) { return on_probe(*wire, *frame); }
    observe(*wire, *frame);
    if (wire->silent || !wire->client_open) { return; }
    wire->to_client = std::max(wire->to_client, now() + delay());
    schedule_.at(wire->to_client, [this, id = wire->id, frame] {
        const Wire& reached = *wires_[id];
        if (reached.silent || !reached.client_open) { return; }
        trace("client ", reached.client, " wire ", id, " < ", frame->whole());
        clients_[reached.client]->on_frame(id, *frame);
    });
}

// What a node tells, at the moment it tells it: for the checks that compare it with what was true.
void World::observe(Wire& wire, const JsonFrame& frame) {
    const std::string_view type = frame.type();
    const auto told = [&](Told::Kind kind, std::string user) {
        record_.told.push_back({kind, now(), wire.id, std::string(frame.text("channel")), std::move(user)});
    };
    if (type == "subscribed") {
        const std::string channel = frame.text("channel");
        record_.acknowledge(wire.id, channel, frame.truth("stale"), now());
        if (const auto presence = frame.object("presence")) {
            told(presence->has("users") ? Told::Kind::begin : Told::Kind::end, {});
            for (const auto& user : presence->list("users")) { told(Told::Kind::snapshot, user.text("userId")); }
        }
    } else if (type == "unsubscribed") {
        told(Told::Kind::end, {});
        if (frame.has("id")) { wire.leaving.erase(frame.text("channel")); }
        if (frame.has("id")) { record_.farewells.push_back({Told::Kind::end, now(), wire.id, std::string(frame.text("channel")), wire.user}); }
        if (frame.has("code")) { record_.end(wire.id, frame.text("channel"), frame.text("code") != "unrecoverable", now()); }
    } else if (type == "error") {
        // A subscribe that failed was withdrawn.
        if (frame.has("channel") && frame.has("id")) { record_.fail(wire.id, frame.text("channel"), frame.number("id"), now()); }
    } else if (type == "presence.count") {
        told(Told::Kind::end, {});           // The list is void.
    } else if (type == "presence.join") {
        told(Told::Kind::join, frame.text("userId"));
    } else if (type == "presence.leave") {
        told(Told::Kind::leave, frame.text("userId"));
    } else if (type == "presence.diff") {
        for (const auto& user : frame.list("joins")) { told(Told::Kind::join, user.text("userId")); }
        for (const auto& user : frame.list("leaves")) { told(Told::Kind::leave, user.text("userId")); }
    } else if (type == "presence" && !frame.has("id") && frame.has("users")) {
        told(Told::Kind::begin, {});
        for (const auto& user : frame.list("users")) { told(Told::Kind::snapshot, user.text("userId")); }
    }
}

}  // namespace starling::sim

// How a client acts; how it judges what it hears is in client_frames.cpp.
#include "client.h"

#include "codec/json_writer.h"

namespace starling::sim {

namespace {

constexpr Duration kPatience = 5s;           // For `connected`, a pong, an answer.

}  // namespace

Client::Client(World& world, std::uint32_t index, std::string user, std::uint64_t seed)
    : world_(world), index_(index), user_(std::move(user)), rng_(seed) {
    const auto& options = world_.options();
    for (std::uint32_t i = 0; i < options.channels; ++i) {
        if (rng_.below(3) != 0) { wanted_[channel_name(i)] = rng_.below(4) != 0; }
    }
    if (options.mode == Mode::stories) { wanted_[channel_name(0)] = true; }
}

void Client::broken(const std::string& what) { world_.violation("client " + std::to_string(index_) + " (" + user_ + "): " + what); }

std::string Client::random_channel() {
    return channel_name(static_cast<std::uint32_t>(rng_.below(world_.options().channels)));
}

std::size_t Client::unanswered() const {
    std::size_t out = 0;
    for (const auto& [id, request] : requests_) {
        const bool here = (current_ && request.wire == current_->wire) || (next_ && request.wire == next_->wire);
        out += here && world_.now() - request.sent > kPatience;
    }
    return out;
}

void Client::start() {
    world_.schedule().after(Duration(1ms) * rng_.below(2000), [this] { open(); });
    tick_later();
}

void Client::move(const Move& move) {
    its_node_ = move.node;
    if (move.silent && current_) { world_.go_silent(current_->wire); }
    leave(move.code, move.away);
}

void Client::tick_later() {
    world_.schedule().after(Duration(1ms) * (80 + rng_.below(500)), [this] { tick(); });
}

void Client::tick() {
    tick_later();
    const Instant now = world_.now();
    for (auto* connection : {&current_, &next_}) {
        if (!*connection) { continue; }
        Connection& c = **connection;
        const bool unconnected = !c.connected && now - c.opened > kPatience;
        const bool no_pong = c.pong_owed && now - c.pinged > kPatience;
        if (unconnected || no_pong) {
            const auto wire = c.wire;
            world_.close(wire, 1006);
            on_closed(wire, 1006);
            return;
        }
        if (c.connected && now - c.pinged > 3s && !c.pong_owed) {
            c.pinged = now;
            c.pong_owed = true;
            world_.send(c.wire, R"({"type":"ping"})");
        }
        // A subscribe without an answer is asked again on a new connection, a publish with its key.
        for (const auto& [id, request] : requests_) {
            if (request.wire == c.wire && now - request.sent > 3 * kPatience) {
                broken("no answer for " + request.type + " in " + request.channel + " id " + std::to_string(id));
                return;
            }
        }
    }
    hand_over();
    if (!current_ || !current_->connected || its_node_) { return; }
    if (!world_.quiet()) {
        do_something();
    } else if (rng_.below(8) == 0 && world_.publishes_in_quiet()) {
        publish();
    }
}

void Client::do_something() {
    const auto dice = rng_.below(100);
    if (dice < 35) {
        publish();
    } else if (dice < 45) {
        const auto channel = random_channel();
        const auto it = current_->subscriptions.find(channel);
        if (it != current_->subscriptions.end() && it->second.live) {
            request(*current_, {.type = "typing", .channel = channel}, rng_.below(3) == 0 ? R"("active":false)" : "");
        }
    } else if (dice < 55) {
        const auto channel = random_channel();
        if (wanted_.contains(channel)) {
            if (wanted_.size() > 1 || rng_.below(2) == 0) {
                wanted_.erase(channel);
                if (current_->subscriptions.contains(channel)) {
                    request(*current_, {.type = "unsubscribe", .channel = channel}, "");
                }
            }
        } else {
            wanted_[channel] = rng_.below(4) != 0;
            if (!current_->subscriptions.contains(channel)) { subscribe(*current_, channel); }
        }
    } else if (dice < 58) {
        const auto channel = random_channel();
        const auto it = current_->subscriptions.find(channel);
        if (it != current_->subscriptions.end() && it->second.live && it->second.present) {
            request(*current_, {.type = "presence.update", .channel = channel}, R"("data":{"n":)" + std::to_string(rng_.below(100)) + "}");
        }
    } else if (dice < 60) {
        request(*current_, {.type = "presence.get", .channel = random_channel()}, "");
    } else if (dice < 62) {
        request(*current_, {.type = "history.get", .channel = random_channel()}, R"("limit":3)");
    } else if (dice < 64) {
        leave(1000, Duration(1ms) * rng_.below(4000));
    } else if (dice < 67) {
        leave(1001, Duration(1ms) * rng_.below(2000));
    } else if (dice < 70) {
        leave(1006, Duration(1ms) * rng_.below(3500));
    } else if (dice < 71) {
        leave(1006, world_.options().linger + Duration(1ms) * rng_.below(4000));
    } else if (dice < 73) {
        world_.go_silent(current_->wire);    // The network is gone; the client notices and comes back elsewhere.
        leave(1006, Duration(1ms) * rng_.below(3000));
    }
}

void Client::leave(std::uint16_t code, Duration away) {
    for (auto* connection : {&current_, &next_}) {
        if (*connection) { world_.close((*connection)->wire, code); }
        connection->reset();
    }
    ++opening_;
    world_.schedule().after(away, [this, mine = opening_] { if (mine == opening_) { open(); } });
}

void Client::open() {
    if (current_) { return; }
    const auto node = its_node_ ? its_node_ : world_.pick_node(rng_);
    if (!node) {
        world_.schedule().after(500ms, [this, mine = ++opening_] { if (mine == opening_) { open(); } });
        return;
    }
    current_ = Connection{};
    current_->wire = world_.connect(index_, user_, *node);
    current_->node = *node;
    current_->opened = current_->pinged = world_.now();
    codec::json::Writer out("connect");
    out.number("id", next_request_++).text("user", user_);
    if (!resume_.empty() && rng_.below(2) == 0) { out.text("resume", resume_); }
    world_.send(current_->wire, out.done());
}

// The node is going: the new connection first, then the old one is closed.
void Client::hand_over() {
    if (!next_ || !next_->connected) { return; }
    for (const auto& [channel, present] : wanted_) {
        const auto it = next_->subscriptions.find(channel);
        if (it == next_->subscriptions.end() || !it->second.live) { return; }
    }
    if (current_) { world_.close(current_->wire, 1000); }
    handed_over_ = world_.now();
    current_ = std::move(next_);
    next_.reset();
}

void Client::request(Connection& connection, Request request, std::string body) {
    const auto id = next_request_++;
    codec::json::Writer out(request.type);
    out.number("id", id).text("channel", request.channel);
    std::string frame = out.done();
    if (!body.empty()) {
        frame.pop_back();
        frame += "," + body + "}";
    }
    request.wire = connection.wire;
    request.sent = world_.now();
    if (request.type == "subscribe") { 
        Subscription& subscription = connection.subscriptions[request.channel];
        subscription.request = subscription.subscribe_id = id;
    }
    requests_[id] = std::move(request);
    world_.send(connection.wire, std::move(frame));
}

void Client::subscribe(Connection& connection, const std::string& channel) {
    const bool present = wanted_.at(channel);
    Subscription subscription;
    subscription.present = present;
    connection.subscriptions[channel] = subscription;
    std::string body = present ? (rng_.below(3) == 0 ? R"("presence":{"by":)" + std::to_string(index_) + "}" : R"("presence":true)")
                               : R"("watch":"members")";
    const auto log = logs_.find(channel);
    if (log != logs_.end() && log->second.position) { body += R"(,"recover":)" + to_json(*log->second.position); }
    request(connection, {.type = "subscribe", .channel = channel}, std::move(body));
}

void Client::subscribe_all(Connection& connection) {
    for (const auto& [channel, present] : wanted_) { subscribe(connection, channel); }
}

void Client::publish() {
    Request sent{.type = "publish", .channel = random_channel()};
    sent.data = "\"" + user_ + "." + std::to_string(index_) + "." + std::to_string(++published_) + "\"";
    if (rng_.below(2) == 0) { sent.key = "k" + std::to_string(index_) + "." + std::to_string(published_); }
    repeat(sent);
    if (!sent.key.empty() && rng_.below(5) == 0) { repeat(sent); }   // An impatient client.
}

void Client::repeat(const Request& again) {
    if (!current_ || !current_->connected) { return; }
    std::string body = R"("data":)" + again.data;
    if (!again.key.empty()) { body += R"(,"key":")" + again.key + "\""; }
    request(*current_, {.type = "publish", .channel = again.channel, .data = again.data, .key = again.key}, std::move(body));
}

Client::Connection* Client::find(std::uint32_t wire) {
    if (current_ && current_->wire == wire) { return &*current_; }
    if (next_ && next_->wire == wire) { return &*next_; }
    return nullptr;
}

void Client::on_closed(std::uint32_t wire, std::uint16_t code) {
    std::erase_if(requests_, [&](const auto& entry) {
        if (entry.second.wire != wire) { return false; }
        // Perhaps done, perhaps not: with its key it can be repeated safely.
        if (entry.second.type == "publish" && !entry.second.key.empty()) {
            world_.schedule().after(Duration(1ms) * (500 + rng_.below(2000)), [this, again = entry.second] { repeat(again); });
        }
        return true;
    });
    if (next_ && next_->wire == wire) {
        handed_over_ = world_.now();         // Back to the old one, which brings what the new one has brought.
        next_.reset();
        return;
    }
    if (!current_ || current_->wire != wire) { return; }
    current_.reset();
    if (next_) {
        handed_over_ = world_.now();
        current_ = std::move(next_);
        next_.reset();
        return;
    }
    if (code == 4000 || code == 4001 || code == 4003 || code == 4005) { broken("closed with " + std::to_string(code)); }
    const Duration backoff = Duration(1ms) * (50 + rng_.below(200)) * (1 + std::min(tries_, 5U));
    ++tries_;
    world_.schedule().after(backoff, [this, mine = ++opening_] { if (mine == opening_) { open(); } });
}

}  // namespace starling::sim

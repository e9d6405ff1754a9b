// What a client makes of the frames it gets, and what it will not accept.
#include "client.h"

#include <algorithm>

namespace starling::sim {

void Client::on_frame(std::uint32_t wire, const JsonFrame& frame) {
    Connection* connection = find(wire);
    if (connection == nullptr) { return; }
    const auto type = frame.type();
    Request asked;
    if (frame.has("id") && type != "message" && !type.starts_with("notification")) {
        const auto it = requests_.find(frame.number("id"));
        if (it != requests_.end()) {
            asked = std::move(it->second);
            requests_.erase(it);
        } else if (type == "error" && !connection->connected) {
            return;                          // The node is going; a close follows.
        } else if (type != "connected") {
            broken("an answer that nobody waits for: " + std::string(frame.whole()));
        }
    }
    if (type == "connected") {
        connection->connected = true;
        tries_ = 0;
        resume_ = frame.text("resume");
        subscribe_all(*connection);
    } else if (type == "pong") {
        connection->pong_owed = false;
    } else if (type == "subscribed") {
        on_subscribed(*connection, frame, asked);
    } else if (type == "unsubscribed") {
        on_unsubscribed(*connection, frame);
    } else if (type == "message") {
        on_message(*connection, frame);
    } else if (type == "published") {
        on_published(frame, asked);
    } else if (type == "error") {
        on_error(*connection, frame, asked);
    } else if (type.starts_with("presence")) {
        if (!frame.has("id")) { on_presence(*connection, frame); }
    } else if (type.starts_with("typing")) {
        on_typing(*connection, frame);
    } else if (type == "reconnect") {
        world_.schedule().after(Duration(1ms) * frame.number("delay"), [this, wire] {
            if (next_ || !current_ || current_->wire != wire) { return; }
            const auto node = world_.pick_node(rng_);
            if (!node) { return; }
            next_ = Connection{};
            next_->wire = world_.connect(index_, user_, *node);
            next_->node = *node;
            next_->opened = next_->pinged = world_.now();
            world_.send(next_->wire, R"({"type":"connect","user":")" + user_ + "\"}");
        });
    }
}

void Client::on_subscribed(Connection& connection, const JsonFrame& frame, const Request& asked) {
    if (world_.demands_speed(connection.node) && world_.now() - asked.sent > 1s) { broken("L1 a subscribe took longer than 1 s"); }
    const auto channel = frame.text("channel");
    const auto it = connection.subscriptions.find(channel);
    if (it == connection.subscriptions.end()) { return broken("subscribed to " + channel + " without asking"); }
    Subscription& subscription = it->second;
    if (subscription.live) { return broken("subscribed to " + channel + " twice"); }
    subscription.live = true;
    subscription.live_since = world_.now();
    subscription.request = 0;
    if (const auto presence = frame.object("presence")) {
        subscription.count = static_cast<std::uint64_t>(presence->number("count"));
        if (presence->has("users")) {
            subscription.members.emplace();
            for (const auto& user : presence->list("users")) {
                if (!subscription.members->insert(user.text("userId")).second) { broken("P4 a user twice in a snapshot of " + channel); }
            }
            if (subscription.members->size() != subscription.count) { broken("P8 count and list differ in a snapshot of " + channel); }
            if (subscription.present && !subscription.members->contains(user_)) { broken("P9 not in the own snapshot of " + channel); }
        }
    }
    for (const auto& user : frame.texts("typing")) { subscription.typing[user] = world_.now(); }

    if (behind(connection, channel)) { return; }
    Log& log = logs_[channel];
    const auto position = frame.position("position");
    if (position && !keeps_history(channel)) { return broken("a position in a channel without history"); }
    if (frame.has("recovered")) {
        // Without a position: it was dropped while the answer was on its way.
        if (log.position && frame.truth("recovered")) {
            for (const auto& message : frame.list("messages")) { take(connection, channel, message); }
            if (position && !doubled() && (log.position->epoch != position->epoch || log.position->offset != position->offset || log.position->id != position->id)) {
                broken("M2 recovered in " + channel + " to " + to_json(*log.position) + ", not to the position " + to_json(*position));
            }
            world_.compare_log(channel, *log.position, log.held, "recovered:true of client " + std::to_string(index_), connection.node);
            return;
        }
        if (!frame.truth("recovered") && frame.has("messages") && !frame.list("messages").empty()) { broken("messages with recovered:false"); }
    }
    log.held.clear();
    log.seen.clear();                        // A new beginning; a node that lags may begin earlier than the last one ended.
    log.position = position;
}

void Client::on_unsubscribed(Connection& connection, const JsonFrame& frame) {
    const auto channel = frame.text("channel");
    const bool was_there = connection.subscriptions.contains(channel);
    if (!was_there && frame.has("id")) { return; }   // The subscribe before it failed.
    // It was asked before the subscription that there is now.
    if (was_there && frame.has("id") && connection.subscriptions.at(channel).subscribe_id > frame.number("id")) { return; }
    if (!was_there) { return broken("unsubscribed from " + channel + " without being in it"); }
    connection.subscriptions.erase(channel);
    if (frame.text("code") == "unrecoverable") {
        if (!behind(connection, channel)) { logs_.erase(channel); }
        if (wanted_.contains(channel)) { subscribe(connection, channel); }
        return;
    }
    if (frame.has("code")) { return broken("unsubscribed from " + channel + " with " + frame.text("code")); }
    // While a new connection takes over, its subscription goes on with the log.
    const auto in = [&](const std::optional<Connection>& other) { return other && other->subscriptions.contains(channel); };
    if (!in(current_) && !in(next_)) { logs_.erase(channel); }
    if (wanted_.contains(channel)) { subscribe(connection, channel); }
}

void Client::on_message(Connection& connection, const JsonFrame& frame) {
    const auto channel = frame.text("channel");
    const auto it = connection.subscriptions.find(channel);
    if (it == connection.subscriptions.end() || !it->second.live) { return broken("a message of " + channel + " outside of a subscription"); }
    if (!behind(connection, channel)) { take(connection, channel, frame); }
}

// While a new connection takes over, the old one still brings what the new one has recovered already.
bool Client::behind(const Connection& connection, const std::string& channel) const {
    if (!next_ || !current_ || &connection != &*current_) { return false; }
    const auto other = next_->subscriptions.find(channel);
    return other != next_->subscriptions.end() && other->second.live;
}

void Client::take(const Connection& connection, const std::string& channel, const JsonFrame& message) {
    Log& log = logs_[channel];
    HeldMessage held{static_cast<std::uint64_t>(message.number("offset")), message.text("id"), std::string(message.raw("data"))};
    if (!keeps_history(channel)) {
        if (held.offset != 0) { broken("an offset in a channel without history"); }
        // At most once on one connection; a node that lags may bring to the next one what the last one had.
        if (!seen_.insert(held.id + "@" + std::to_string(connection.wire)).second) { broken("M3 message " + held.id + " twice in " + channel); }
        return;
    }
    if (!log.position) { return broken("M1 a message of " + channel + " without a position"); }
    if (held.offset <= log.position->offset && doubled()) {
        world_.link(channel, log.position->epoch, held.offset, std::nullopt, held.id, held.data);
        // What the old connection brought in a world that is gone is taken back.
        const auto had = std::ranges::find(log.held, held.offset, &HeldMessage::offset);
        if (had != log.held.end() && had->id != held.id) {
            log.held.erase(had, log.held.end());
            log.position->offset = held.offset;
            log.position->id = held.id;
            log.held.push_back(std::move(held));
        }
        return;
    }
    if (held.offset != log.position->offset + 1) {
        return broken("M1 offset " + std::to_string(held.offset) + " of " + channel + " after " + std::to_string(log.position->offset));
    }
    world_.link(channel, log.position->epoch, held.offset, doubled() ? std::nullopt : std::optional(log.position->id), held.id, held.data);
    log.position->offset = held.offset;
    log.position->id = held.id;
    if (!log.seen.insert(held.id).second) { broken("M3 message " + held.id + " twice in " + channel); }
    log.held.push_back(std::move(held));
    if (log.held.size() > 200) { log.held.pop_front(); }
}

void Client::on_published(const JsonFrame& frame, const Request& asked) {
    world_.published(asked.channel, user_, asked.key, asked.data, frame.text("messageId"), frame.text("epoch"),
                     static_cast<std::uint64_t>(frame.number("offset")));
    if (world_.demands_speed(current_ ? current_->node : 0) && world_.now() - asked.sent > 1s) { broken("L1 a publish took longer than 1 s"); }
}

void Client::on_error(Connection& connection, const JsonFrame& frame, const Request& asked) {
    const auto code = frame.text("code");
    if (code == "unavailable" || code == "timeout") {
        if (asked.type == "publish" && !asked.key.empty()) {
            world_.schedule().after(Duration(1ms) * (500 + rng_.below(2000)), [this, asked] { repeat(asked); });
        }
        if (asked.type == "subscribe") {
            connection.subscriptions.erase(asked.channel);
            world_.schedule().after(Duration(1ms) * (300 + rng_.below(1000)), [this, wire = connection.wire, channel = asked.channel] {
                Connection* still = find(wire);
                if (still != nullptr && wanted_.contains(channel) && !still->subscriptions.contains(channel)) { subscribe(*still, channel); }
            });
        }
        return;
    }
    // What a request meant may be over when it arrives.
    if (code == "not_subscribed" && (asked.type == "typing" || asked.type == "unsubscribe" || asked.type == "presence.update")) { return; }
    if (code == "not_present" && asked.type == "presence.update") { return; }
    broken("error " + std::string(frame.whole()) + " for " + asked.type);
}

void Client::join(const std::string& channel, Subscription& subscription, const std::string& user) {
    if (subscription.members && !subscription.members->insert(user).second) { broken("P4 join of " + user + " who is in " + channel); }
}

void Client::part(const std::string& channel, Subscription& subscription, const std::string& user) {
    if (subscription.members && subscription.members->erase(user) == 0) { broken("P4 leave of " + user + " who is not in " + channel); }
}

void Client::on_presence(Connection& connection, const JsonFrame& frame) {
    const auto channel = frame.text("channel");
    const auto it = connection.subscriptions.find(channel);
    if (it == connection.subscriptions.end() || !it->second.live) { return broken("presence of " + channel + " outside of a subscription"); }
    Subscription& subscription = it->second;
    const auto type = frame.type();
    if (type == "presence.join") {
        join(channel, subscription, frame.text("userId"));
    } else if (type == "presence.leave") {
        part(channel, subscription, frame.text("userId"));
    } else if (type == "presence.update") {
        if (subscription.members && !subscription.members->contains(frame.text("userId"))) { broken("P4 update of who is not in " + channel); }
    } else if (type == "presence.diff") {
        for (const auto& user : frame.list("leaves")) { part(channel, subscription, user.text("userId")); }
        for (const auto& user : frame.list("joins")) { join(channel, subscription, user.text("userId")); }
        if (subscription.members && subscription.members->size() != static_cast<std::uint64_t>(frame.number("count"))) {
            broken("P8 count of a diff in " + channel);
        }
    } else if (type == "presence.count") {
        subscription.members.reset();        // The list is void.
        subscription.count = static_cast<std::uint64_t>(frame.number("count"));
    } else if (type == "presence" && frame.has("users")) {
        subscription.members.emplace();
        for (const auto& user : frame.list("users")) { subscription.members->insert(user.text("userId")); }
    }
    if (subscription.members) { subscription.count = subscription.members->size(); }
}

void Client::on_typing(Connection& connection, const JsonFrame& frame) {
    const auto channel = frame.text("channel"), user = frame.text("userId");
    const auto it = connection.subscriptions.find(channel);
    if (it == connection.subscriptions.end() || !it->second.live) { return broken("typing of " + channel + " outside of a subscription"); }
    if (user == user_) { return broken("typing sent back to who types"); }
    if (frame.type() == "typing.start") {
        if (!it->second.typing.emplace(user, world_.now()).second) { broken("typing.start of " + user + " twice in " + channel); }
    } else if (it->second.typing.erase(user) == 0) {
        broken("typing.stop of " + user + " without a start in " + channel);
    }
}

}  // namespace starling::sim

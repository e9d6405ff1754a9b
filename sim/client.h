#pragma once
// A client as protocol.md wants it: it connects, subscribes, publishes and types, comes back with backoff, recovers
// by position, follows `unsubscribed` and `reconnect`. It is also the first judge: what reaches it must be
// consistent in itself (order, alternation, one answer for each request).

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "codec/message.h"
#include "json_frame.h"
#include "story.h"
#include "world.h"

namespace starling::sim {

class Client {
 public:
    Client(World& world, std::uint32_t index, std::string user, std::uint64_t seed);

    void start();
    // From now on it does nothing by chance, and opens its connections on the story's node.
    void move(const Move& move);
    void on_frame(std::uint32_t wire, const JsonFrame& frame);
    void on_closed(std::uint32_t wire, std::uint16_t code);

    // --- for the checks ---
    struct Log {                             // What the application has of a channel, over all connections.
        std::optional<Position> position;
        std::set<std::string> seen;          // Ids of all that was handed.
        std::deque<HeldMessage> held;         // Without a gap, up to the position.
    };
    struct Subscription {
        bool present = false;
        std::int64_t request = 0;            // Not 0: no answer yet.
        std::int64_t subscribe_id = 0;
        bool live = false;
        Instant live_since{};
        std::optional<std::set<std::string>> members;
        std::uint64_t count = 0;
        std::map<std::string, Instant> typing;
    };
    const std::string& user() const { return user_; }
    std::uint32_t index() const { return index_; }
    struct Connection {
        std::uint32_t wire = 0, node = 0;
        bool connected = false;
        Instant opened{};
        Instant pinged{};
        bool pong_owed = false;
        std::map<std::string, Subscription> subscriptions;
    };
    const std::optional<Connection>& current() const { return current_; }
    const std::map<std::string, Log>& logs() const { return logs_; }
    const std::map<std::string, bool>& wanted() const { return wanted_; }   // Channel -> present.
    std::size_t unanswered() const;

 private:
    struct Request {
        std::string type, channel;
        std::uint32_t wire = 0;
        Instant sent{};
        std::string data, key;
    };

    void tick();
    void tick_later();
    void do_something();
    void open();
    void leave(std::uint16_t code, Duration away);
    void subscribe(Connection& connection, const std::string& channel);
    void subscribe_all(Connection& connection);
    void publish();
    void repeat(const Request& request);
    void request(Connection& connection, Request request, std::string body);
    void hand_over();
    Connection* find(std::uint32_t wire);

    void on_subscribed(Connection& connection, const JsonFrame& frame, const Request& asked);
    void on_unsubscribed(Connection& connection, const JsonFrame& frame);
    void on_message(Connection& connection, const JsonFrame& frame);
    void on_published(const JsonFrame& frame, const Request& request);
    bool behind(const Connection& connection, const std::string& channel) const;
    void on_error(Connection& connection, const JsonFrame& frame, const Request& request);
    void on_presence(Connection& connection, const JsonFrame& frame);
    void on_typing(Connection& connection, const JsonFrame& frame);
    void join(const std::string& channel, Subscription& subscription, const std::string& user);
    void part(const std::string& channel, Subscription& subscription, const std::string& user);
    // Takes one message; `recovered`: in `subscribed.messages`.
    void take(const Connection& connection, const std::string& channel, const JsonFrame& message);
    // Two connections bring the same messages for a while: a client tells them by their ids.
    bool doubled() const { return next_ || (handed_over_ && world_.now() - *handed_over_ < 10s); }
    void broken(const std::string& what);
    std::string random_channel();

    World& world_;
    std::uint32_t index_;
    std::string user_;
    Rng rng_;
    std::map<std::string, bool> wanted_;
    std::map<std::string, Log> logs_;
    std::optional<Connection> current_, next_;   // next_: the node told us to go.
    std::optional<std::uint32_t> its_node_;  // Of a story's move.
    std::uint32_t tries_ = 0;
    std::uint64_t opening_ = 0;
    std::map<std::int64_t, Request> requests_;
    std::int64_t next_request_ = 1;
    std::uint64_t published_ = 0;
    std::string resume_;
    std::optional<Instant> handed_over_;
    std::set<std::string> seen_;             // Ids of messages that the application was handed.
};

}  // namespace starling::sim

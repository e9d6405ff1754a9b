#pragma once
// What Redis keeps between turns, for the files that make it up:
//   redis.cpp                the public face, deadlines, heartbeats
//   redis_links.cpp          opening, closing, backoff; which reply answers what
//   redis_hello.cpp          the handshake of a link
//   redis_calls.cpp          queues of calls by partition, redirects
//   redis_subscriptions.cpp  what is wanted, asked and confirmed; pushes; probes
//   redis_topology.cpp       which server holds a partition: Sentinel and Cluster

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "base/slot_index.h"
#include "base/slots.h"
#include "engine/redis.h"

namespace starling::engine {

// One entry from outside: its time and what shall be done.
struct Turn {
    Now now;
    Actions& out;
};

// The state of a connection that is made again and again.
struct Dialer {
    LinkId link = 0;                         // 0: none now.
    std::uint32_t attempts = 0;
    std::optional<Instant> failing_since;
    std::optional<Instant> retry_at;
};

struct Server {
    std::string host;
    std::uint16_t port = 0;
    std::string address;                     // host:port
    Dialer commands, pubsub;
    std::string run;                         // Its run id, from the last handshake.
    bool ready = false;                      // A primary whose command link has finished its handshake.
    bool sharded = false;                    // SSUBSCRIBE and SPUBLISH.
    std::uint32_t partitions = 0;            // In use, held by it.
    std::optional<Instant> wanted_until;     // For a redirected call or a question about the cluster.
    // Probes: published through the command link, expected on the pub/sub link.
    std::string probe;                       // Channel; empty: none yet.
    std::uint32_t probe_partition = 0;
    std::uint32_t probes_answered = 0;       // Since the last one that arrived.
};

// What a sentinel says of the primary.
struct Sentinel {
    std::string host;
    std::uint16_t port = 0;
    Dialer polls, events;
    std::string names;                       // host:port, or empty: it does not know the name.
    std::optional<Instant> answered;
    bool tried = false;                      // It has answered or failed once.
};

struct Call {
    enum class State : std::uint8_t { waiting, written, done };
    Token token = 0;                         // 0: nobody waits for the answer.
    std::vector<std::string> words;
    std::size_t bytes = 0;
    Instant made{};
    State state = State::waiting;
    bool publish = false;                    // words[0] is chosen when the server is known.
    bool full_text = false;                  // The server does not know the script's SHA-1.
    std::uint8_t hops = 0;                   // Redirects followed.
    LinkId link = 0;
    Server* ask = nullptr;                   // Sent there once, with ASKING.
    std::optional<Instant> not_before;
    std::variant<codec::resp::Value, CallFailed> result;
};

// What the way to Redis knows of a partition; the machine of its home is `Partition`.
struct PartitionState {
    std::string tag;
    bool mine = false;
    bool used = false;
    Server* owner = nullptr;
    bool up = false;
    std::string up_server;
    // Answered in this order; a call that is done waits for those before it.
    std::deque<Call> calls;
    std::uint64_t first = 0;                 // Number of calls.front().
    std::uint32_t waiting = 0, written = 0;
    LinkId link = 0;                         // Of the last one written.
    bool mixed = false;                      // Written ones are on more than one link.
};

// A reply that will come.
struct Expected {
    enum class Kind : std::uint8_t { call, ignored, hello, probe, slots, primary };
    Kind kind = Kind::ignored;
    std::uint32_t partition = 0;
    std::uint64_t number = 0;                // Of the call; of the step in a handshake.
    Instant sent{};
};

// One change of what a pub/sub link listens to. An old one, whose stamp is not its subscription's, is passed over.
struct Wish {
    enum class Verb : std::uint8_t { subscribe, unsubscribe, pattern };
    Verb verb = Verb::subscribe;
    std::uint32_t partition = 0;
    std::uint64_t stamp = 0;                 // 0: the probe or a pattern.
    std::string channel;
};
struct Asked {                               // One command, with as many confirmations as it has channels.
    std::vector<Wish> wishes;
    std::size_t confirmed = 0;
};

struct Subscription {
    enum class State : std::uint8_t { wanted, asked, confirmed };
    SharedBytes channel;                     // Null: this place is free.
    std::uint32_t partition = 0;
    State state = State::wanted;
    LinkId link = 0;
    std::uint64_t stamp = 0;
};

struct Link {
    enum class Kind : std::uint8_t { commands, pubsub, polls, events };
    LinkId id = 0;
    Kind kind = Kind::commands;
    Server* server = nullptr;                // Of commands and pubsub.
    Sentinel* sentinel = nullptr;            // Of polls and events.
    Instant opened{};
    bool connected = false;
    bool ready = false;                      // The handshake is done.
    std::string leaving;                     // Why it takes no more calls and ends after the last answer; else empty.
    bool replica = false;                    // Good for questions about the cluster only.
    bool authenticated = false;              // A sentinel was given the password.
    codec::resp::Reader reader;
    std::deque<Expected> expected;
    std::map<std::uint64_t, codec::resp::Value> hello;
    std::set<std::string> scripts;           // SHA-1 of those that were sent with their text.
    // Of pubsub:
    std::deque<Wish> wishes;
    std::deque<Wish> refused;                // To be asked again.
    std::optional<Instant> ask_again;
    std::deque<Asked> asked;
    Instant proven{};                        // When the newest probe that arrived was sent.
};

struct Redis::State {
    RedisSettings settings;
    std::vector<PartitionState> partitions;
    std::string probe;
    Rng rng;

    std::map<std::string, Server> servers;   // By address; ordered, for order decides.
    std::vector<Sentinel> sentinels;
    std::map<LinkId, std::unique_ptr<Link>> links;
    std::vector<std::unique_ptr<Link>> graves;   // Closed in this turn, perhaps still on the stack.
    LinkId last_link = 0;
    StringMap<std::string> scripts;          // SHA-1 to text.
    Slots<Subscription> subscriptions;
    SlotIndex subscription_index;
    std::uint64_t last_stamp = 0;
    std::vector<std::string> patterns;
    LinkId pattern_link = 0;
    std::size_t pending_bytes = 0;
    bool sharded = false;
    RedisEvents events;
    std::set<std::string> told;              // Findings, each told once.
    Instant next_tick{};                     // Twice a heartbeat.
    bool odd_tick = false;
    std::uint32_t waiting = 0;               // Calls that are not written, of all partitions.
    // A pause of our own: answers may lie in the sockets, so nothing is called late before they were read.
    Instant last_look{};
    Instant patient_until{};
    // Cluster:
    bool map_known = false;
    bool map_asked = false;
    std::optional<Instant> ask_map_at;
    Instant map_time{};                      // Of the last answer.
    std::string last_asked;                  // Address, so that another one is asked next.
    Server* map_source = nullptr;            // Whom a redirect named: it knows its own slots best.
    // Sentinel:
    std::string current;                     // The primary's address.

    State(RedisSettings all, std::vector<std::string> tags, const std::vector<std::uint32_t>& mine, std::string channel,
          std::uint64_t seed);

    // redis.cpp
    void tick(Turn& turn);
    void expire_links(Turn& turn);
    void settle(Turn& turn);                 // At the end of each turn: what shall be connected, is.
    void find(bool fatal, std::string text); // Once each.
    Duration patience() const { return settings.heartbeat * 5 / 2; }
    bool clustered() const { return settings.form == RedisSettings::Form::cluster; }

    // redis_links.cpp
    Server& server_at(const std::string& host, std::uint16_t port);
    bool wanted(const Server& server, Instant now) const;
    Dialer& dialer_of(Link& link);
    void dial(Dialer& dialer, Link::Kind kind, Server* server, Sentinel* sentinel, Turn& turn);
    void write(Link& link, const std::vector<std::string>& words, Turn& turn);
    void expect(Link& link, Expected::Kind kind, std::uint64_t number, Turn& turn, std::uint32_t partition = 0);
    enum class Told : std::uint8_t { by_peer, by_us };
    void close(Link& link, std::string_view reason, Told told, Turn& turn);
    void replace(Link& link, std::string_view reason, Turn& turn);   // Closes, and connects again at once.
    Link* link_of(const Dialer& dialer) const;
    Link* ready_link(const Dialer& dialer) const;
    void on_reply(Link& link, codec::resp::Value reply, Turn& turn);
    void lost_commands(Link& link, const std::string& reason, Turn& turn);
    void leave(Link& link, const std::string& reason, Turn& turn);

    // redis_hello.cpp
    void say_hello(Link& link, Turn& turn);
    void on_hello(Link& link, std::uint64_t step, codec::resp::Value reply, Turn& turn);
    void finish_hello(Link& link, Turn& turn);
    std::string refusal(Link& link);         // Why this server is not to be used; empty: it is.
    void look_at_settings(Link& link);

    // redis_calls.cpp
    void call(std::uint32_t partition, Call made, Turn& turn);
    void use(std::uint32_t partition, Turn& turn);
    bool write_call(PartitionState& partition, std::size_t index, Turn& turn);
    void write_calls(std::uint32_t partition, Turn& turn);
    void on_call_reply(Link& link, const Expected& expected, codec::resp::Value reply, Turn& turn);
    void finish(PartitionState& partition, Call& call, std::variant<codec::resp::Value, CallFailed> result);
    void release(PartitionState& partition);
    void wait_again(PartitionState& partition, Call& call);
    void fail_waiting(PartitionState& partition, const Server* target, const std::string& reason);
    void expire_calls(std::uint32_t partition, Turn& turn);
    void update_up(std::uint32_t partition);
    bool out_of_reach(const Server& server) const;

    // redis_subscriptions.cpp
    std::optional<std::uint32_t> subscription_slot(std::string_view channel) const;
    Subscription* subscription(std::string_view channel);   // Null: it is not wanted.
    void want(std::uint32_t partition, SharedBytes channel, Turn& turn);
    void unwant(std::string_view channel, Turn& turn);
    void place_patterns(Turn& turn);
    void ask_refused_again(Link& link, Turn& turn);
    void miss(Subscription& subscription);
    void fill_wishes(Link& link, Turn& turn);
    void send_wishes(Link& link, Turn& turn);
    void on_push(Link& link, codec::resp::Value push, Turn& turn);
    void on_confirmed(Link& link, const std::string& verb, const std::string& channel, Turn& turn);
    void on_refused(Link& link, const std::string& error, Turn& turn);
    void lost_pubsub(Link& link);
    void choose_probe(Server& server, Turn& turn);
    void listen_to_probe(Link& link, Turn& turn);
    void send_probe(Server& server, Turn& turn);
    void on_probe_answer(Link& link, const codec::resp::Value& reply, Turn& turn);
    void look_at_probe(Server& server, Turn& turn);

    // redis_topology.cpp
    void set_owner(std::uint32_t partition, Server* owner, Turn& turn);
    void start_topology(Turn& turn);
    void watch_topology(Turn& turn);         // Each heartbeat.
    void greet_sentinel(Link& link, Turn& turn);
    void authenticate(Link& link, Turn& turn);
    void poll_sentinel(Sentinel& sentinel, Turn& turn);
    void poll_sentinels(Turn& turn);
    void on_primary(Link& link, const codec::resp::Value& reply, Turn& turn);
    void on_sentinel_event(Link& link, const codec::resp::Value& push, Turn& turn);
    void choose_primary(Turn& turn);
    void ask_map(Turn& turn);
    void want_map(Instant at, Server* source = nullptr);
    void prune_servers(const std::set<std::string>& named, Instant now);
    void on_map(Link& link, const codec::resp::Value& reply, Turn& turn);
    // "MOVED 866 host:port" and "ASK 866 host:port"; the host may be left out.
    Server* redirect_target(const Link& link, const std::string& error);
};

// The first word of an error, also where a script of Redis 6 wraps it into its own text.
std::string_view error_code(std::string_view error);

}  // namespace starling::engine

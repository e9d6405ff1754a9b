#pragma once
// A cluster on virtual time: nodes with their shards and engines, the Redis they share, the links between
// them, and the clients. Everything that happens is an action of one schedule, and all chance comes from
// one seed, so a run can be played again exactly.
//
//   clients --frames, delayed--> nodes: Shard + Engine --bytes, delayed--> RedisModel

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "domain/mail.h"
#include "domain/shard.h"
#include "engine/engine.h"
#include "options.h"
#include "record.h"
#include "redis_model.h"
#include "schedule.h"

namespace starling::sim {

class Client;
class JsonFrame;

struct HeldMessage {                         // A message that an application was handed.
    std::uint64_t offset = 0;
    std::string id, data;
};
std::string channel_name(std::uint32_t index);
bool keeps_history(std::string_view channel);

inline constexpr std::uint32_t kProbeClient = UINT32_MAX;
inline constexpr std::int64_t kWallBaseMs = 1700000000000;

// A client's connection to a node, both ends.
struct Wire {
    std::uint32_t id = 0;
    std::uint32_t client = 0;
    std::uint32_t node = 0, shard = 0;
    std::uint64_t life = 0;                  // Of the node.
    std::string user;
    std::optional<domain::SessionId> session;    // While the node has it open.
    bool client_open = true;
    bool silent = false;                     // Half-open: nothing goes through any more, and no end is told.
    Instant to_node{}, to_client{};          // When the last bytes of either way arrive.
    Instant opened{};                        // By the client.
    Instant heard{};                         // By the node.
    std::optional<Instant> gone;             // When the client closed it, or fell silent.
    bool held = false;                       // HoldInput.
    std::deque<std::string> waiting;
    std::set<std::string> leaving;           // Channels whose `unsubscribe` is not answered yet.
};

struct Box {                                 // A shard with its engine.
    std::unique_ptr<domain::Shard> shard;
    std::unique_ptr<engine::Engine> engine;
    domain::Effects effects;
    std::deque<std::unique_ptr<domain::Mail>> inbox;
    std::optional<Instant> wakes;            // Scheduled, in the world's time.
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> wires;   // By session.
    Instant spun_at{};
    std::uint32_t spins = 0;
};

struct Node {
    std::uint32_t index = 0;
    std::string id;
    std::uint64_t life = 0;                  // Counts its starts.
    bool up = false, draining = false;
    double rate = 1;                         // Of its monotonic clock.
    Duration offset{};
    std::int64_t wall_offset_ms = 0;
    Instant paused_until{};
    std::deque<Schedule::Action> backlog;    // While paused.
    std::vector<Box> boxes;
    // Until when bytes of its links to Redis stand still: [command, pub/sub][to Redis, from Redis].
    Instant blocked[2][2] = {};
};

// A connection of a node's engine to Redis.
struct Link {
    std::uint32_t node = 0, shard = 0;
    std::uint64_t life = 0;
    engine::LinkId id = 0;
    std::uint32_t server = 0;                // Index of the model it is connected to.
    std::optional<RedisConnection> connection;
    bool pubsub = false;
    bool dead = false;                       // Nothing goes through any more, without a word.
    bool left = false;                       // The engine has closed it, or was told of its end.
    Instant to_redis{}, to_node{};
};

class World {
 public:
    World(Options options, ScriptHost& host);
    ~World();

    // Runs all phases. The first violation that was found, or nothing.
    std::optional<std::string> run();
    std::uint64_t digest() const { return digest_; }
    std::uint64_t scripts_in_faults() const { return scripts_in_faults_; }   // That Redis ran before all was quiet.

    // --- for clients ---
    const Options& options() const { return options_; }
    Instant now() const { return schedule_.now(); }
    Schedule& schedule() { return schedule_; }
    Record& record() { return record_; }
    Rng& rng() { return rng_; }
    // A node that takes connections, or none.
    std::optional<std::uint32_t> pick_node(Rng& rng);
    std::uint32_t connect(std::uint32_t client, const std::string& user, std::uint32_t node);
    void send(std::uint32_t wire, std::string frame);
    // code 1006: the connection breaks; else a close frame with this code.
    void close(std::uint32_t wire, std::uint16_t code);
    void go_silent(std::uint32_t wire);
    bool quiet() const { return quiet_; }
    bool publishes_in_quiet() const { return now() < publish_until_; }
    // L1 holds for this node now.
    bool demands_speed(std::uint32_t node) const;

    // --- what clients saw, to be compared (messages.cpp) ---
    // One link of a channel's chain: every subscriber must see the same. before: absent where it is not known.
    void link(const std::string& channel, const std::string& epoch, std::uint64_t offset, std::optional<std::string> before,
              const std::string& id, const std::string& data);
    void published(const std::string& channel, const std::string& user, const std::string& key, const std::string& data,
                   const std::string& id, const std::string& epoch, std::uint64_t offset);
    // By a client of this node, or at rest.
    void compare_log(const std::string& channel, const Position& position, const std::deque<HeldMessage>& held, const std::string& who,
                     std::optional<std::uint32_t> node = std::nullopt);
    void violation(std::string what);
    // Numbers become text only if somebody reads them.
    template <typename... Parts>
    void trace(const Parts&... parts) {
        if (!options_.traces()) { return; }
        std::string line;
        const auto add = [&line](const auto& part) {
            if constexpr (std::is_integral_v<std::decay_t<decltype(part)>>) { line += std::to_string(part); } else { line += part; }
        };
        (add(parts), ...);
        print_trace(line);
    }
    const std::string& node_id(std::uint32_t node) const { return nodes_[node].id; }

 private:
    friend class Checks;

    // world.cpp
    void print_trace(const std::string& text);
    Duration delay();
    void probe_nodes();
    void on_probe(Wire& wire, const JsonFrame& frame);
    std::shared_ptr<const domain::Settings> make_settings() const;
    // The key of a channel in the model.
    std::string key(const std::string& kind, const std::string& channel, const std::string& rest = {}) const;
    const Stream* log_of(const std::string& channel, std::optional<std::uint32_t> node = std::nullopt);
    std::optional<Position> top_of(const std::string& channel, std::optional<std::uint32_t> node = std::nullopt);

    // nodes.cpp
    void start_node(std::uint32_t node);
    void crash_node(std::uint32_t node, bool silent);
    void pause_node(std::uint32_t node, Duration lasts);
    void drain_node(std::uint32_t node, Duration window);
    void watch_drain(std::uint32_t node, std::uint64_t life, Instant killed);
    Instant local(const Node& node, Instant time) const;
    Instant global(const Node& node, Instant local_time) const;
    Now node_now(const Node& node) const;
    // Runs in the node's turn, unless that life of it is over; a paused node does it later.
    template <typename Act>
    void in_node(std::uint32_t index, std::uint64_t life, Act&& act) {
        Node& node = nodes_[index];
        if (!node.up || node.life != life) { return; }
        if (now() < node.paused_until) {
            node.backlog.push_back(std::forward<Act>(act));
            return;
        }
        act();
        settle(node);
    }
    void settle(Node& node);
    void wake(std::uint32_t node, std::uint64_t life, std::uint32_t shard);
    void probe(Node& node, std::uint32_t shard, domain::SessionId session);
    void perform(Node& node, std::uint32_t shard, domain::Effect& effect);
    void take(Node& node, std::uint32_t shard, engine::Output& output);

    // wires.cpp
    void deliver_frame(std::uint32_t wire, const std::string& frame);
    void end_session(Wire& wire, std::uint16_t code);
    void note_end(Wire& wire, std::uint16_t code);
    void to_client(Node& node, std::uint32_t shard, domain::SessionId session, const std::shared_ptr<const JsonFrame>& frame);
    void server_closes(Wire& wire, std::uint16_t code);
    void tell_client_closed(Wire& wire, std::uint16_t code);
    void feed_waiting(std::uint32_t wire);
    void observe(Wire& wire, const JsonFrame& frame);
    Wire* wire_of(Node& node, std::uint32_t shard, domain::SessionId session);

    // links.cpp
    void act(Node& node, std::uint32_t shard, engine::Action& action);
    void open_link(std::uint32_t link);
    void close_link(std::uint32_t link, bool tell_node, const char* why);
    Instant arrival(Link& link, int way);
    void at_redis(std::uint32_t link, const std::string& bytes);
    void serve(std::uint32_t link);
    void push_out(std::uint32_t server);
    void cut_links(std::optional<std::uint32_t> node, std::optional<bool> pubsub, bool dead);

    // faults.cpp
    void begin_fault(const Fault& fault);
    void redis_goes(Duration down, bool keep_data, bool silent);
    void fail_over(Duration lost, Duration down, bool silent);
    void redis_unwell(Duration lasts);
    void mood_ends();
    void pause_ends();
    // Two servers of one lineage for a while, and the nodes divided between them.
    void split(const Fault& fault);
    void end_split(bool silent);
    void on_boundary(std::uint32_t link, const Fault& fault);
    void move_slot(const Fault& fault);
    void forget_links(std::uint32_t server);
    void loss();
    bool lost_within(Duration time) const { return !record_.losses.empty() && now() - record_.losses.back() < time; }
    void mood(RedisMood mood, Duration lasts);
    RedisOptions redis_options() const;
    std::string random_run_id();

    Options options_;
    ScriptHost& host_;
    Rng rng_;
    Schedule schedule_;
    Record record_;
    std::shared_ptr<const domain::Settings> settings_;
    std::vector<Fault> faults_;
    std::vector<Node> nodes_;
    std::vector<std::unique_ptr<Wire>> wires_;
    std::vector<std::unique_ptr<Link>> links_;
    std::map<std::tuple<std::uint32_t, std::uint64_t, std::uint32_t, engine::LinkId>, std::uint32_t> link_index_;
    std::vector<std::unique_ptr<RedisModel>> servers_;   // The last one is the primary.
    struct Split {
        Instant from, to;
        std::uint32_t old_side;              // A bit for each node that stays with the old primary.
        bool with_old(std::uint32_t node) const { return (old_side >> node & 1) != 0; }
    };
    std::vector<Split> splits_;
    std::optional<std::uint32_t> old_primary_;           // While there is one: of the last split.
    // Where a node's connections go.
    std::uint32_t server_of(std::uint32_t node) const;
    std::uint64_t scripts_run_ = 0, boundary_at_ = 0;    // The reply of this script is held or lost (0: of none).
    std::uint64_t scripts_in_faults_ = 0;
    Fault boundary_;
    std::map<std::pair<std::uint32_t, RedisConnection>, std::uint32_t> link_of_;   // By server and connection.
    std::vector<std::unique_ptr<Client>> clients_;
    Instant redis_paused_until_{}, redis_down_until_{};
    Duration redis_slow_{};
    std::uint32_t lose_replies_ = 0, drop_pushes_ = 0;   // Of a thousand.
    bool quiet_ = false;
    std::optional<std::size_t> mood_, pause_;   // Their intervals in redis_away.
    std::vector<Interval> lost_;             // What was written in between was lost by a failover.
    std::optional<std::string> violation_;
    std::uint64_t digest_ = 0;               // Of the trace, if it is wanted.
    Instant faults_end_{}, publish_until_{};
    struct ChainLink {
        std::string epoch, data;
        std::uint64_t offset = 0;
        std::optional<std::string> before;
    };
    std::map<std::pair<std::string, std::string>, ChainLink> chain_;       // By channel and id.
    std::map<std::tuple<std::string, std::string, std::string>, std::string> results_;   // By channel, user and key.
    std::vector<std::string> tags_, counters_;   // By partition; counters_: the keys `n`.
    struct Probe { std::uint32_t wire = 0, node = 0; };
    std::vector<Probe> probes_;
};

}  // namespace starling::sim

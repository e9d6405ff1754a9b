#pragma once
// One Redis server on virtual time: connections that speak RESP2, data, pub/sub, scripts, and a replica
// that lags behind. Commands run one by one when the world says so, so that it can hold or cut anything
// between two of them.

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "next_version.h"
#include "redis_reply.h"
#include "redis_script.h"
#include "redis_store.h"

namespace starling::sim {

using RedisConnection = std::uint32_t;

struct RedisOptions {
    std::string version = "7.0.15";
    std::string password;                    // "": none is asked.
    std::uint16_t port = 6379;
    std::size_t scan_whole = 128;            // Hashes up to this size are scanned in one page.
    bool replica = false;                    // Keep a journal for promote().
    std::map<std::string, std::string> config = {
        {"maxmemory", "0"}, {"maxmemory-policy", "noeviction"}, {"timeout", "0"}, {"save", ""}, {"databases", "16"},
        {"client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"}};
};

// What the server refuses at the moment.
enum class RedisMood : std::uint8_t { well, loading, full, readonly, busy };

class RedisModel : private ScriptCalls {
 public:
    // `run_id`: 40 hex digits. The host is shared by all servers and outlives them.
    RedisModel(RedisOptions options, std::string run_id, ScriptHost& host);

    RedisConnection open();
    void close(RedisConnection connection);
    void feed(RedisConnection connection, std::string_view bytes);

    // Runs the next command that this connection sent. False: none is complete. The reply goes to output, unless
    // `lose_reply`: then it is done and nobody hears of it.
    struct Step {
        std::string name;                    // Lower case.
        bool script = false;
        bool wrote = false;
        std::string renewed;                 // The partition (KEYS[1]) whose lease a node's apply or reg moved on.
        std::string text;                    // The first words, for a trace.
    };
    std::optional<Step> step(RedisConnection connection, std::int64_t now_ms, bool lose_reply = false);

    struct Outgoing {
        RedisConnection connection;
        std::string bytes;
        bool push = false;                   // Pub/sub, not a reply.
    };
    std::vector<Outgoing> take_output() { return std::exchange(output_, {}); }
    // The server closed it (protocol error, QUIT).
    bool closed(RedisConnection connection) const { return !clients_.contains(connection); }

    bool describes = false;                  // Fill Step::text.
    RedisMood mood = RedisMood::well;
    const std::string& run_id() const { return run_id_; }
    Store& store(std::size_t database = 0) { return stores_[database]; }
    const Store& store(std::size_t database = 0) const { return stores_[database]; }

    // A fresh process with the same data: neither scripts nor connections.
    std::unique_ptr<RedisModel> reborn(std::string run_id);
    void flush_all();
    // The server that a failover makes out of the replica: it has what was written up to `seen_ms` and nothing after.
    std::unique_ptr<RedisModel> promote(std::string run_id, std::int64_t seen_ms);
    // The replica has applied all up to then; forgets that part of the journal.
    void replica_caught_up(std::int64_t seen_ms);
    void forget_scripts() { scripts_.clear(); }
    // What this connection was to be answered is lost.
    void forget_replies(RedisConnection connection) { std::erase_if(output_, [&](const Outgoing& out) { return out.connection == connection; }); }
    // Ends the subscriptions to channels that hold this text in their names, and says so.
    void end_subscriptions(const std::string& part);
    // From now on it runs the scripts of the next wire version where this connection asks for ours.
    void speaks_next(RedisConnection connection, bool breaks) { clients_[connection].version = breaks ? Version::next_breaks : Version::next; }
    std::size_t subscribers(std::string_view channel) const;

 private:
    static constexpr std::size_t kDatabases = 16;
    using Stores = std::array<Store, kDatabases>;
    struct Client {
        CommandReader reader;
        bool authenticated = false;
        Version version = Version::ours;     // speaks_next.
        std::size_t database = 0;
        std::string name;
        std::set<std::string> channels, shard_channels, patterns;
        bool subscribed() const { return !channels.empty() || !shard_channels.empty() || !patterns.empty(); }
    };
    struct Written { std::size_t database; Words words; };
    struct JournalGroup {                    // One command or one script: the replica has all of it or nothing.
        std::int64_t at_ms;
        std::vector<Written> written;
    };

    Reply script_call(Words& words) override;
    Reply execute(RedisConnection id, Client& client, Words& words, bool& answered);
    std::optional<Reply> refuse(const Client& client, const std::string& name, const Words& words) const;
    Reply run_data(const Command& command, Words& words, std::size_t database);
    Reply server_command(Client& client, const std::string& name, Words& words, bool& known);
    Reply evaluate(Client& client, Words& words, bool by_sha);
    Reply script_command(Words& words);
    Reply information(const Words& words) const;
    Reply subscribe(RedisConnection id, Client& client, const std::string& name, Words& words);
    std::int64_t publish(const std::string& channel, const std::string& payload, bool sharded);
    void apply(Stores& stores, const JournalGroup& group) const;

    RedisOptions options_;
    std::string run_id_;
    ScriptHost& host_;
    Stores stores_;
    std::map<RedisConnection, Client> clients_;
    RedisConnection next_ = 1;
    // Who listens, in the order of their ids, so that pushes are made in one order always.
    std::map<std::string, std::set<RedisConnection>, std::less<>> channels_, shard_channels_, patterns_;
    std::set<std::string, std::less<>> scripts_;   // SHA-1 of those that this run knows.
    Words words_;                            // Of the command that runs.
    std::vector<Outgoing> output_;
    std::int64_t now_ms_ = 0;
    bool wrote_ = false;                     // The command that runs.
    std::vector<Written> written_;           // By it, for the replica.
    bool in_script_ = false;
    std::size_t script_database_ = 0;

    Stores replica_;
    std::deque<JournalGroup> journal_;       // Not yet in the replica.
    std::int64_t replicated_bytes_ = 0;
};

bool glob_matches(std::string_view pattern, std::string_view text);

}  // namespace starling::sim

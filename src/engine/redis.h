#pragma once
// The way to Redis as a state machine: bytes in, bytes out. It keeps the connections (commands and pub/sub
// apart), finds the server of a partition in all three forms of Redis, pipelines, and says what became of
// each call. It knows nothing of what the calls mean.
//
//   calls, subscriptions --> Redis --> Actions: connect, write, disconnect   --> sockets, or the simulator
//   events               <-- Redis <-- on_connected, on_bytes, on_closed, on_deadline

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "codec/resp.h"
#include "engine/script.h"

namespace starling::engine {

// redis.url, taken apart by the server.
struct RedisSettings {
    enum class Form : std::uint8_t { standalone, sentinel, cluster } form = Form::standalone;
    struct Server { std::string host; std::uint16_t port = 6379; };
    std::vector<Server> servers;             // The one, the sentinels, or some of the cluster.
    std::string primary;                     // The name that the sentinels know.
    std::string user, password;              // ACL; the password is never logged.
    std::uint32_t database = 0;
    bool tls = false;
    Duration heartbeat = 1s;                 // Probes; an answer later than 2.5 of them means a dead link.
    Duration lease = 8500ms;                 // Reconnects back off by no more than 250 ms during the first one.
    std::size_t queue_bytes_max = 64u << 20; // Of calls without an answer: above it they fail at once.
};

using LinkId = std::uint32_t;
struct Connect { LinkId link = 0; std::string host; std::uint16_t port = 0; bool tls = false; };
struct Write { LinkId link = 0; std::string bytes; };
struct Disconnect { LinkId link = 0; };      // No on_closed follows.
using Action = std::variant<Connect, Write, Disconnect>;
using Actions = std::vector<Action>;

using Token = std::uint64_t;                 // Of a call; not 0.

// Not `unknown`: the call was not done for certain (never sent, or refused before doing it: LOADING, OOM, READONLY, BUSY).
// `unknown`: nobody knows; the link broke or the answer did not come in time.
struct CallFailed {
    bool unknown = false;
    std::string reason;                      // For logs and the message of `unavailable`.
};
struct Answered {
    Token token = 0;
    std::variant<codec::resp::Value, CallFailed> result;   // A Value may be an error of the script's own.
};
// Confirmed: everything that is published to it from now on arrives as Pushed, until Missed.
struct Subscribed { std::string channel; };
// The subscription was interrupted (link lost or stalled, slot moved, unsolicited `sunsubscribe`): messages may
// be missing. The channel is subscribed again by itself and `Subscribed` follows.
struct Missed { std::string channel; };
struct Pushed { std::string channel; std::string payload; };
// The server of this partition answers. `server` names its run (run id), so that another one is noticed.
struct PartitionUp { std::uint32_t partition = 0; std::string server; };
struct PartitionDown { std::uint32_t partition = 0; };
// About the server, for the log and for `doctor`: too old, evicting policy (fatal), small pub/sub output buffer.
struct Finding { bool fatal = false; std::string text; };
using RedisEvent = std::variant<Answered, Subscribed, Missed, Pushed, PartitionUp, PartitionDown, Finding>;
using RedisEvents = std::vector<RedisEvent>;

class Redis {
 public:
    // `tags`: the hash tag of each partition; calls and subscriptions are routed by it. `mine`: the partitions that
    // this shard owns (Up and Down are told for these). `probe`: the channel by which this shard proves its
    // receiving path.
    Redis(RedisSettings settings, std::vector<std::string> tags, std::vector<std::uint32_t> mine, std::string probe,
          std::uint64_t seed);
    ~Redis();
    Redis(Redis&&) noexcept;
    Redis& operator=(Redis&&) noexcept;

    void start(Now now, Actions& out);

    // One script, keys of one partition. Calls of one partition are sent and answered in order, nothing is sent
    // twice by itself except after MOVED, ASK, TRYAGAIN and NOSCRIPT (EVAL once), which did nothing. The answer
    // comes as Answered, also when the call fails at once.
    void eval(Token token, std::uint32_t partition, const Script& script, std::vector<std::string> keys,
              std::vector<std::string> args, Now now, Actions& out);
    // Any other single command of one partition (HSCAN, XRANGE ...); the second word is its key.
    void command(Token token, std::uint32_t partition, std::vector<std::string> words, Now now, Actions& out);
    // PUBLISH, or SPUBLISH where subscriptions are sharded, without an answer to the caller.
    void publish(std::uint32_t partition, std::string channel, std::string payload, Now now, Actions& out);
    // Whether scripts must announce with SPUBLISH: known once a partition is up.
    bool sharded() const;

    // Routed by the partition: SSUBSCRIBE where the server has it (7.0), else SUBSCRIBE.
    void subscribe(std::uint32_t partition, SharedBytes channel, Now now, Actions& out);
    void unsubscribe(std::string_view channel, Now now, Actions& out);
    // PSUBSCRIBE at any one server; Pushed.channel is the real one.
    void subscribe_pattern(std::string pattern, Now now, Actions& out);

    void on_connected(LinkId link, Now now, Actions& out);
    void on_bytes(LinkId link, std::string_view bytes, Now now, Actions& out);
    void on_closed(LinkId link, std::string_view reason, Now now, Actions& out);   // Also: connecting failed.

    RedisEvents take_events();               // What happened since the last look, in order.

    std::optional<Instant> next_deadline() const;
    void on_deadline(Now now, Actions& out);

    std::size_t pending_bytes() const;       // Of calls without an answer.

 private:
    struct State;
    std::unique_ptr<State> state_;
};

// Hash tags for `count` partitions, spread over the 16,384 slots of Redis Cluster.
std::vector<std::string> make_tags(std::uint32_t count);
// CRC16 of the key, or of what stands between its first braces, modulo 16384.
std::uint16_t slot_of(std::string_view key);

}  // namespace starling::engine

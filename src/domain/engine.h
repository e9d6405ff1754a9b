#pragma once
// What the domain asks of an engine and what an engine tells it: values both ways, so one home serves
// the memory of its own process and a cluster over Redis alike. An engine orders and stores; it lives
// beside the shard, in the same thread, and answers within the turn (memory) or later (Redis).
//
//   Shard --Effect AskEngine{EngineCall}--> engine --EngineEvent--> Shard::on_engine
//
// A channel's events come in one order, the same on every node: what `Listening` said, then each
// `Delivered` and `MembersChanged` after it.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "codec/backend.h"
#include "codec/error.h"
#include "codec/message.h"
#include "domain/history.h"

namespace starling::domain {

// An app's channel; apps share nothing. A user's notifications are the channel "@" + user id.
struct ChannelRef {
    std::uint32_t app = 0;
    std::string name;
    bool operator==(const ChannelRef&) const = default;
};

enum class Departure : std::uint8_t { clean, broken };

// A channel belongs to one partition; a partition has one home shard on each node, partition % shards.
std::uint32_t partition_of(const ChannelRef& channel, std::uint32_t partitions);

using CallId = std::uint64_t;                // Drawn by the shard; not 0; answered exactly once.

// --- asked ---

// From now on the channel's events are wanted; answered by `Listening`. Idempotent.
struct Listen {
    ChannelRef channel;
    HistoryLimits log;                       // size 0: the channel keeps no history.
};
// No events any more. Contributions (Enter) stay and keep the engine listening for itself.
struct Unlisten { ChannelRef channel; };

// Numbers, keeps (log.size > 0) and announces one message. Answered by `Published`; those who listen
// get `Delivered`, before or after it.
struct Publish {
    CallId call = 0;
    ChannelRef channel;
    Message message;                         // id and time are set; offset is the engine's to give.
    std::optional<std::string> key;          // Idempotency key with its owner; the first result is given again.
    std::string except;                      // Connection id that is left out; "": nobody.
    HistoryLimits log;
    Duration key_ttl = 300s;
};
// Reads the log; answered by `ReadAnswer`.
struct Read {
    CallId call = 0;
    ChannelRef channel;
    // Recovery: all after `since` or the reason why not (History::recover with messages_max, bytes_max).
    // Otherwise a page (History::page).
    bool recover = false;
    std::optional<Position> since;
    std::uint32_t limit = 100;               // Of a page.
    bool reverse = false;
    std::size_t messages_max = 1000;         // Of a recovery.
    std::size_t bytes_max = SIZE_MAX;
    HistoryLimits log;
};
// Empties the log and begins a new epoch; listeners get `Broken`. Answered by `Erased`.
struct Erase {
    CallId call = 0;
    ChannelRef channel;
};
// Moves the acknowledged offset of a user's notifications ("@user") forward, never back; answered by `Acknowledged`.
struct Acknowledge {
    CallId call = 0;
    ChannelRef channel;
    std::uint64_t offset = 0;
    std::string except;                      // The connection that acknowledged.
};

// The first connection of this user on this node is present in the channel, or the user's first again
// after an Exit, or a further one that brings data. Answered by `Entered`. `data` is the user's when given, `fallback` where it has none.
struct Enter {
    ChannelRef channel;
    std::string user_id;
    std::optional<std::string> data, fallback;
};
// The last one is gone: at once, or after the linger (`broken`) unless the user is back on any node.
struct Exit {
    ChannelRef channel;
    std::string user_id;
    Departure how = Departure::clean;
};
struct Update {
    ChannelRef channel;
    std::string user_id;
    std::string data;
};
// To the homes of the channel on the other nodes: never stored, may be lost, repeated at least each 3 s by
// whoever goes on typing.
struct SignalTyping {
    ChannelRef channel;
    std::string user_id;
    bool active = true;
};
// To the first shard of one node, or of all others (`node` empty): bytes that only the domain reads; may be lost.
struct Tell {
    std::string node;
    std::string payload;
};
// After `Doubt`: every session that did not answer has been closed (its Exit came before this).
struct Proven { std::uint32_t partition = 0; };
// The node drains: its leases say so.
struct Retire {};

using EngineCall = std::variant<Listen, Unlisten, Publish, Read, Erase, Acknowledge, Enter, Exit, Update, SignalTyping, Tell,
                                Proven, Retire>;

// --- told ---

// The channel's chain is known from here on: `top` is the newest message (absent: no history, or the
// engine is out of reach and never told), and the members known so far follow in a MembersChanged.
// Both come in one Output. `stale`: the engine is out of reach; when it is back and the log is not the one assumed, `Broken`.
struct Listening {
    ChannelRef channel;
    std::optional<Position> top;
    bool stale = false;
};
struct Delivered {
    ChannelRef channel;
    Message message;
    std::string except;                      // A connection id, of any node.
};
// The log no longer continues what was delivered: subscribers are told `unrecoverable`. `top` is the new one.
struct Broken {
    ChannelRef channel;
    std::optional<Position> top;
};
struct Published {
    CallId call = 0;
    std::expected<codec::backend::PublishResult, Error> result;
};
struct ReadResult {
    std::vector<Message> messages;           // Oldest first, or newest first with `reverse`.
    // Of a channel that is listened to: exactly the last one delivered before this answer.
    std::optional<Position> top;             // Absent: no history.
    std::uint64_t acknowledged = 0;          // Of "@user".
};
struct ReadAnswer {
    CallId call = 0;
    // RecoverFailure: the log does not continue `since`, with the top; Error: unavailable.
    struct Refused {
        std::variant<RecoverFailure, Error> why;
        std::optional<Position> top;
        std::uint64_t acknowledged = 0;
        std::uint64_t first_offset = 1;      // The oldest kept.
    };
    std::expected<ReadResult, Refused> result;
};
struct Erased {
    CallId call = 0;
    std::optional<Error> error;
};
struct Acknowledged {
    CallId call = 0;
    std::uint64_t newest = 0;                // An offset past it changed nothing (protocol.md section 10: bad_request).
    std::optional<Error> error;
};
// To the listeners of "@user" on every node, when it moved.
struct AcknowledgedElsewhere {
    ChannelRef channel;
    std::uint64_t offset = 0;
    std::string except;
};
// The set of users present in the channel changed, in the order of the chain. A user is in at most one list.
struct MembersChanged {
    ChannelRef channel;
    std::vector<Member> joins, updates;
    std::vector<std::string> leaves;
};
// The user's contribution from here is known to the cluster (or, `stale`, only to this node), and was told by a
// MembersChanged before this if it was new.
struct Entered {
    ChannelRef channel;
    std::string user_id;
};
struct TypingHeard {
    ChannelRef channel;
    std::string user_id;
    bool active = true;
};
struct Heard {
    std::string node;
    std::string payload;
};
// The lease of this node was renewed: once a heartbeat, for the first partition of each shard.
struct LeaseRenewed {};
// The engine is out of reach for this partition (answers carry `stale`), or back.
struct Reach {
    std::uint32_t partition = 0;
    bool reachable = true;
};
// This node was given up by the others, or was blind for long: ping every session that holds presence in the
// partition, close within 2 s (4009) those that do not answer, then answer `Proven`.
struct Doubt { std::uint32_t partition = 0; };
// The live nodes of the cluster, this one included; told when it changes.
struct Peers {
    struct Peer {
        std::string node_id, address;
        bool draining = false;
    };
    std::vector<Peer> nodes;
};
// From plain Redis PUBLISH (protocol.md section 7): to the subscribers, without order or id.
struct Ingress {
    ChannelRef channel;                      // Of "ws:pubsub:".
    std::string connection_id;               // Of "ws:direct:"; then `channel` is empty.
    std::string data;                        // Valid JSON within `data_bytes`.
};

using EngineEvent = std::variant<Listening, Delivered, Broken, Published, ReadAnswer, Erased, Acknowledged,
                                 AcknowledgedElsewhere, MembersChanged, Entered, TypingHeard, Heard, LeaseRenewed, Reach, Doubt, Peers, Ingress>;
using EngineEvents = std::vector<EngineEvent>;

}  // namespace starling::domain

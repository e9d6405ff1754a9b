#pragma once
// The backend HTTP API (protocol.md section 6) as values: a request decoded from method, path, query
// and body, and the JSON bodies that answer. Pure; the transport and the API key are the server's.

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "codec/error.h"
#include "codec/message.h"
#include "codec/native.h"

namespace starling::codec::backend {

struct PublishMessage {
    std::string channel;
    std::string data;
    std::optional<std::string> event, key, conflate_key, exclude, user_id;
};
struct Broadcast {
    std::vector<std::string> channels;
    std::string data;
    std::optional<std::string> event, key;
};
struct Notify { std::string user_id; std::string data; std::optional<std::string> key; };
struct NotifyMany { std::vector<std::string> users; std::string data; std::optional<std::string> key; };
struct SendDirect { std::string connection_id; std::string data; };
struct Typing { std::string channel; std::string user_id; bool active = true; };
struct PresenceList { std::string channel; std::uint32_t limit = 100; std::optional<std::string> cursor; };
struct PresenceCount { std::string channel; };
struct History {
    std::string channel;
    std::optional<Position> since;     // Query form: epoch.offset.id
    std::uint32_t limit = 100;
    bool reverse = false;
};
struct DeleteHistory { std::string channel; };
struct ListChannels { std::string prefix; std::uint32_t limit = 100; std::optional<std::string> cursor; };
struct GetUser { std::string user_id; };
struct DisconnectUser { std::string user_id; std::uint16_t code = 4005; std::string reason; };
struct SubscribeUser {
    std::string user_id;
    std::string channel;
    bool present = false;
    std::optional<std::string> presence_data;
};
struct UnsubscribeUser { std::string user_id; std::string channel; };
struct GetNodes {};

using Request = std::variant<PublishMessage, Broadcast, Notify, NotifyMany, SendDirect, Typing, PresenceList,
                             PresenceCount, History, DeleteHistory, ListChannels, GetUser, DisconnectUser,
                             SubscribeUser, UnsubscribeUser, GetNodes>;

// status is 200, 202, 204 or an error's; body is JSON, empty for 202 and 204.
struct Reply {
    int status = 200;
    std::string body;
};

struct Batch {                         // POST /v1/batch: not a Request; the server runs it in order.
    struct Item { std::string method; std::string path; std::string body; };
    std::vector<Item> items;
};

struct Limits {
    native::Limits wire;
    std::size_t broadcast_channels = 1000;
    std::size_t batch_requests = 100;
};

// `target` is the request target with its query ("/v1/channels/doc%3A42/messages?limit=5").
// Unknown path: not_found. A known path with another method: `method_not_allowed` set (405).
// The names inside `channels` of a broadcast and `users` of notifications are not checked here: a bad
// one fails its own entry, not the call. A batch is bad_request here, so a batch in a batch is, too.
struct RouteError {
    Error error;
    bool method_not_allowed = false;
};
std::expected<Request, RouteError> decode(std::string_view method, std::string_view target, std::string_view body,
                                          const Limits& limits);
std::expected<Batch, RouteError> decode_batch(std::string_view body, const Limits& limits);
std::string encode_batch(std::span<const Reply> replies);   // {responses:[{status, body}]}

// The error body {"error":{"code","message"}} with its status.
Reply error_reply(const Error& error);

struct PublishResult {
    std::string message_id;
    std::optional<Position> position;  // epoch and offset are written.
    bool duplicate = false;
    std::optional<std::uint64_t> devices;
    bool partial = false;              // A node did not say its devices in time; only true is written.
};
struct ConnectionInfo {
    std::string connection_id, node_id;
    std::int64_t connected_at = 0;
    std::vector<std::string> channels;
};
struct ChannelInfo { std::string channel; std::uint64_t subscribers = 0, present = 0; };
struct NodeInfo {
    std::string node_id, address, version;
    std::int64_t uptime_ms = 0;
    std::uint64_t connections = 0, channels = 0;
    std::int64_t lease_age_ms = 0;
    bool draining = false;
    bool partial = false;              // It did not answer in time: what only itself knows is 0; only true is written.
};

std::string encode(const PublishResult& result);
std::string encode_results(std::span<const std::expected<PublishResult, Error>> results);
std::string encode_presence(std::uint64_t count, std::span<const Member> users, const std::optional<std::string>& cursor, bool stale);
std::string encode_count(std::uint64_t count);
std::string encode_history(const std::optional<Position>& position, std::span<const Message> messages);
std::string encode_channels(std::span<const ChannelInfo> channels, const std::optional<std::string>& cursor, bool partial);
std::string encode_user(std::span<const ConnectionInfo> connections, bool partial);   // online = not empty
std::string encode_connections(std::uint64_t count);
std::string encode_nodes(std::span<const NodeInfo> nodes);

}  // namespace starling::codec::backend

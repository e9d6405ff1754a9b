#pragma once
// The native protocol: one JSON object a frame, decoded into a command, and the frames that answer.
// Pure: text in, values out; values in, text out. protocol.md section 3 decides.

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

namespace starling::codec::native {

// What decoding itself can check; rights, rates and the rest are the session's.
struct Limits {
    std::size_t frame_bytes = 131072;
    std::size_t data_bytes = 65536;
    std::size_t presence_bytes = 4096;
    std::size_t channel_bytes = 255;
    std::size_t user_bytes = 255;
    std::size_t event_bytes = 64;
    std::size_t key_bytes = 64;
};

struct Connect {
    std::optional<std::string> token;
    std::optional<std::string> user;
    std::optional<std::string> resume;
    std::optional<Position> notifications;
};
struct Subscribe {
    std::string channel;
    bool present = false;              // `presence` was true or data.
    bool presence_asked = false;       // `presence` was neither absent, null nor false.
    std::optional<std::string> presence_data;  // Raw JSON; absent for `true`.
    std::optional<Watch> watch;
    std::optional<Position> recover;
    std::optional<std::string> token;
};
struct Unsubscribe { std::string channel; };
struct Publish {
    std::string channel;
    std::string data;                  // Raw JSON.
    std::optional<std::string> event;
    std::optional<std::string> key;
    std::optional<std::string> conflate_key;
    bool echo = true;
};
struct Typing { std::string channel; bool active = true; };
struct PresenceUpdate { std::string channel; std::string data; };
struct PresenceGet { std::string channel; };
struct HistoryGet {
    std::string channel;
    std::optional<Position> since;
    std::uint32_t limit = 100;         // 1 to 1,000; more is limit_exceeded.
    bool reverse = false;
};
struct Refresh { std::string token; };
struct NotificationAck { std::uint64_t offset = 0; };
struct Ping {};

using Command = std::variant<Connect, Subscribe, Unsubscribe, Publish, Typing, PresenceUpdate, PresenceGet,
                             HistoryGet, Refresh, NotificationAck, Ping>;

using RequestId = std::optional<std::int64_t>;   // 1 to 2^53-1; the frame's `id`.

struct Request {
    RequestId id;
    Command command;
};

struct DecodeError {
    RequestId id;                      // Absent where the id itself was wrong.
    Error error;                       // bad_request, too_large or limit_exceeded; names the field.
    std::optional<std::string> channel;  // Where the frame named a valid one.
};

// `text` is valid UTF-8. Channel names are checked for section 2's rules (control characters, size,
// leading @ or $, not empty); a `data` deeper than 128 or another value deeper than 32 is bad_request.
std::expected<Request, DecodeError> decode(std::string_view text, const Limits& limits);

// Section 2's rule for names; the error names `field` and, where it is passed, the limit.
std::optional<Error> check_channel(std::string_view channel, std::size_t bytes_max, std::string_view field);
std::optional<Error> check_user(std::string_view user, std::size_t bytes_max, std::string_view field);

// --- Frames to the client. Each returns one JSON object; an absent id is left out. ---

struct NotificationState {
    Position position;
    bool recovered = true;
    std::vector<Message> messages;
};
struct Connected {
    RequestId id;
    std::string connection_id;
    std::string user_id;
    std::string node_id;
    std::int64_t server_time = 0;
    std::int64_t ping_interval_s = 25;
    std::optional<std::int64_t> expires_at;
    std::string resume;
    bool resumed = false;
    NotificationState notifications;
};
struct PresenceSummary {
    std::uint64_t count = 0;
    std::optional<std::vector<Member>> users;
};
struct Subscribed {
    RequestId id;
    std::string channel;
    std::optional<Position> position;
    std::optional<bool> recovered;
    std::string reason;                // Empty: absent. epoch, gap, fork or limit.
    std::optional<std::vector<Message>> messages;
    std::optional<PresenceSummary> presence;
    std::optional<std::vector<std::string>> typing;
    bool stale = false;                // Only true is written.
};
struct PresenceDiff {
    std::uint64_t count = 0;
    std::vector<Member> joins;
    std::vector<Member> updates;       // Only user_id and data are written.
    std::vector<std::string> leaves;
};

std::string encode(const Connected& frame);
std::string encode(const Subscribed& frame);
std::string encode_unsubscribed(RequestId id, std::string_view channel, std::string_view code, std::string_view reason);
std::string encode_message(std::string_view channel, const Message& message, std::uint64_t skipped = 0);
// For a connection left out by echo:false or exclude: no data, offsets stay consecutive.
std::string encode_message_without_data(std::string_view channel, const Message& message);
std::string encode_published(RequestId id, std::string_view channel, std::string_view message_id,
                             const std::optional<Position>& position, bool duplicate);
// A single change keeps its own form (presence.join, .update, .leave); more are one presence.diff.
std::string encode_presence(std::string_view channel, const PresenceDiff& diff);
std::string encode_presence_count(std::string_view channel, std::uint64_t count);
// `users` absent: only the count (watch:"count").
std::string encode_presence_list(RequestId id, std::string_view channel, const PresenceSummary& summary, bool stale);
std::string encode_typing(std::string_view channel, std::string_view user_id, bool active);
std::string encode_notification(const Message& message);
std::string encode_notification_acked(std::uint64_t offset);
std::string encode_notifications(const NotificationState& state);
std::string encode_direct(std::string_view data);
// Position absent: the channel has no history.
std::string encode_history(RequestId id, std::string_view channel, const std::optional<Position>& position,
                           std::span<const Message> messages);
std::string encode_refreshed(RequestId id, std::optional<std::int64_t> expires_at);
std::string encode_reconnect(std::int64_t delay_ms);
std::string encode_ok(RequestId id);
std::string encode_pong(RequestId id);
std::string encode_error(RequestId id, const Error& error, std::string_view channel = {});

}  // namespace starling::codec::native

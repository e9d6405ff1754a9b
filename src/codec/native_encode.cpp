// Native frames to the client: one JSON object each, fields in the order of protocol.md.

#include "codec/json_writer.h"
#include "codec/native.h"

namespace starling::codec::native {

namespace {

using json::Writer;

std::string position_json(const Position& position) {
    return Writer().text("epoch", position.epoch).number("offset", position.offset).text("id", position.id).done();
}

std::string member_json(const Member& member) {
    Writer out;
    out.text("userId", member.user_id).number("connectedAt", member.connected_at);
    if (member.data) { out.raw("data", *member.data); }
    return out.done();
}

std::string update_json(const Member& member) {
    return Writer().text("userId", member.user_id).raw("data", member.data.value_or("null")).done();
}

std::string leave_json(const std::string& user) { return Writer().text("userId", user).done(); }

std::string quoted(const std::string& text) {
    std::string out;
    json::append_string(out, text);
    return out;
}

void message_fields(Writer& out, const Message& message, bool with_data) {
    if (message.event) { out.text("event", *message.event); }
    if (with_data) { out.raw("data", message.data); }
    out.text_if("id", message.id);
    if (message.offset != 0) { out.number("offset", message.offset); }
    out.text_if("userId", message.user_id);
    if (message.conflate_key) { out.text("conflateKey", *message.conflate_key); }
    out.number("time", message.time);
}

std::string message_json(const Message& message) {
    Writer out;
    message_fields(out, message, true);
    return out.done();
}

std::string notification_json(const Message& message) {
    return Writer().raw("data", message.data).text("id", message.id).number("offset", message.offset)
        .number("time", message.time).done();
}

void notification_fields(Writer& out, const NotificationState& state) {
    out.text("epoch", state.position.epoch).number("offset", state.position.offset).text("id", state.position.id);
    out.boolean("recovered", state.recovered).list("messages", state.messages, notification_json);
}

std::string summary_json(const PresenceSummary& summary) {
    Writer out;
    out.number("count", summary.count);
    if (summary.users) { out.list("users", *summary.users, member_json); }
    return out.done();
}

}  // namespace

std::string encode(const Connected& frame) {
    Writer out("connected");
    out.id(frame.id).text("connectionId", frame.connection_id).text("userId", frame.user_id);
    out.text("nodeId", frame.node_id).number("serverTime", frame.server_time).number("pingInterval", frame.ping_interval_s);
    if (frame.expires_at) { out.number("expiresAt", *frame.expires_at); }
    out.text("resume", frame.resume).boolean("resumed", frame.resumed);
    Writer notifications;
    notification_fields(notifications, frame.notifications);
    return out.raw("notifications", notifications.done()).done();
}

std::string encode(const Subscribed& frame) {
    Writer out("subscribed");
    out.id(frame.id).text("channel", frame.channel);
    if (frame.position) { out.raw("position", position_json(*frame.position)); }
    if (frame.recovered) { out.boolean("recovered", *frame.recovered); }
    out.text_if("reason", frame.reason);
    if (frame.messages) { out.list("messages", *frame.messages, message_json); }
    if (frame.presence) { out.raw("presence", summary_json(*frame.presence)); }
    if (frame.typing) { out.list("typing", *frame.typing, quoted); }
    if (frame.stale) { out.boolean("stale", true); }
    return out.done();
}

std::string encode_unsubscribed(RequestId id, std::string_view channel, std::string_view code, std::string_view reason) {
    return Writer("unsubscribed").id(id).text("channel", channel).text_if("code", code).text_if("reason", reason).done();
}

std::string encode_message(std::string_view channel, const Message& message, std::uint64_t skipped) {
    Writer out("message");
    out.text("channel", channel);
    message_fields(out, message, true);
    if (skipped != 0) { out.number("skipped", skipped); }
    return out.done();
}

std::string encode_message_without_data(std::string_view channel, const Message& message) {
    Writer out("message");
    out.text("channel", channel);
    message_fields(out, message, false);
    return out.done();
}

std::string encode_published(RequestId id, std::string_view channel, std::string_view message_id,
                             const std::optional<Position>& position, bool duplicate) {
    Writer out("published");
    out.id(id).text("channel", channel).text("messageId", message_id);
    if (position) { out.text("epoch", position->epoch).number("offset", position->offset); }
    if (duplicate) { out.boolean("duplicate", true); }
    return out.done();
}

std::string encode_presence(std::string_view channel, const PresenceDiff& diff) {
    if (diff.joins.size() + diff.updates.size() + diff.leaves.size() == 1) {
        if (!diff.joins.empty()) {
            const Member& member = diff.joins[0];
            Writer out("presence.join");
            out.text("channel", channel).text("userId", member.user_id).number("connectedAt", member.connected_at);
            if (member.data) { out.raw("data", *member.data); }
            return out.done();
        }
        if (!diff.updates.empty()) {
            return Writer("presence.update").text("channel", channel).text("userId", diff.updates[0].user_id)
                .raw("data", diff.updates[0].data.value_or("null")).done();
        }
        return Writer("presence.leave").text("channel", channel).text("userId", diff.leaves[0]).done();
    }
    return Writer("presence.diff").text("channel", channel).number("count", diff.count)
        .list("joins", diff.joins, member_json).list("updates", diff.updates, update_json)
        .list("leaves", diff.leaves, leave_json).done();
}

std::string encode_presence_count(std::string_view channel, std::uint64_t count) {
    return Writer("presence.count").text("channel", channel).number("count", count).done();
}

std::string encode_presence_list(RequestId id, std::string_view channel, const PresenceSummary& summary, bool stale) {
    Writer out("presence");
    out.id(id).text("channel", channel).number("count", summary.count);
    if (summary.users) { out.list("users", *summary.users, member_json); }
    if (stale) { out.boolean("stale", true); }
    return out.done();
}

std::string encode_typing(std::string_view channel, std::string_view user_id, bool active) {
    return Writer(active ? "typing.start" : "typing.stop").text("channel", channel).text("userId", user_id).done();
}

std::string encode_notification(const Message& message) {
    return Writer("notification").raw("data", message.data).text("id", message.id).number("offset", message.offset)
        .number("time", message.time).done();
}

std::string encode_notification_acked(std::uint64_t offset) {
    return Writer("notification.acked").number("offset", offset).done();
}

std::string encode_notifications(const NotificationState& state) {
    Writer out("notifications");
    notification_fields(out, state);
    return out.done();
}

std::string encode_direct(std::string_view data) { return Writer("direct").raw("data", data).done(); }

std::string encode_history(RequestId id, std::string_view channel, const std::optional<Position>& position,
                           std::span<const Message> messages) {
    Writer out("history");
    out.id(id).text("channel", channel);
    if (position) { out.raw("position", position_json(*position)); }
    return out.list("messages", messages, message_json).done();
}

std::string encode_refreshed(RequestId id, std::optional<std::int64_t> expires_at) {
    Writer out("refreshed");
    out.id(id);
    if (expires_at) { out.number("expiresAt", *expires_at); }
    return out.done();
}

std::string encode_reconnect(std::int64_t delay_ms) { return Writer("reconnect").number("delay", delay_ms).done(); }
std::string encode_ok(RequestId id) { return Writer("ok").id(id).done(); }
std::string encode_pong(RequestId id) { return Writer("pong").id(id).done(); }

std::string encode_error(RequestId id, const Error& error, std::string_view channel) {
    return Writer("error").id(id).text("code", name(error.code)).text("message", error.message)
        .text_if("channel", channel).boolean("retryable", retryable(error.code)).done();
}

}  // namespace starling::codec::native

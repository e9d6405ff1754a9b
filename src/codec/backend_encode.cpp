// The answers of the backend API, fields in the order of protocol.md section 6.

#include "codec/backend.h"
#include "codec/json_writer.h"

namespace starling::codec::backend {

namespace {

using json::Writer;

std::string error_json(const Error& error) {
    return Writer()
        .raw("error", Writer().text("code", name(error.code)).text("message", error.message).done())
        .done();
}

std::string member_json(const Member& member) {
    Writer out;
    out.text("userId", member.user_id).number("connectedAt", member.connected_at);
    if (member.data) { out.raw("data", *member.data); }
    return out.done();
}

std::string message_json(const Message& message) {
    Writer out;
    if (message.event) { out.text("event", *message.event); }
    out.raw("data", message.data);
    if (!message.id.empty()) { out.text("id", message.id); }
    if (message.offset != 0) { out.number("offset", message.offset); }
    if (!message.user_id.empty()) { out.text("userId", message.user_id); }
    if (message.conflate_key) { out.text("conflateKey", *message.conflate_key); }
    return out.number("time", message.time).done();
}

std::string quoted(const std::string& text) {
    std::string out;
    json::append_string(out, text);
    return out;
}

std::string connection_json(const ConnectionInfo& connection) {
    return Writer().text("connectionId", connection.connection_id).text("nodeId", connection.node_id)
        .number("connectedAt", connection.connected_at).list("channels", connection.channels, quoted).done();
}

std::string channel_json(const ChannelInfo& channel) {
    return Writer().text("channel", channel.channel).number("subscribers", channel.subscribers)
        .number("present", channel.present).done();
}

std::string node_json(const NodeInfo& node) {
    Writer out;
    out.text("nodeId", node.node_id).text("address", node.address).text("version", node.version)
        .number("uptime", node.uptime_ms).number("connections", node.connections).number("channels", node.channels)
        .number("leaseAgeMs", node.lease_age_ms).boolean("draining", node.draining);
    if (node.partial) { out.boolean("partial", true); }
    return out.done();
}

std::string reply_json(const Reply& reply) {
    return Writer().number("status", reply.status).raw("body", reply.body.empty() ? "null" : reply.body).done();
}

}  // namespace

Reply error_reply(const Error& error) { return {http_status(error.code), error_json(error)}; }

std::string encode_batch(std::span<const Reply> replies) { return Writer().list("responses", replies, reply_json).done(); }

std::string encode(const PublishResult& result) {
    Writer out;
    out.text("messageId", result.message_id);
    if (result.position) { out.text("epoch", result.position->epoch).number("offset", result.position->offset); }
    if (result.duplicate) { out.boolean("duplicate", true); }
    if (result.devices) { out.number("devices", *result.devices); }
    if (result.partial) { out.boolean("partial", true); }
    return out.done();
}

std::string encode_results(std::span<const std::expected<PublishResult, Error>> results) {
    const auto each = [](const std::expected<PublishResult, Error>& result) {
        return result ? encode(*result) : error_json(result.error());
    };
    return Writer().list("results", results, each).done();
}

std::string encode_presence(std::uint64_t count, std::span<const Member> users, const std::optional<std::string>& cursor,
                            bool stale) {
    Writer out;
    out.number("count", count).list("users", users, member_json);
    if (cursor) { out.text("cursor", *cursor); }
    if (stale) { out.boolean("stale", true); }
    return out.done();
}

std::string encode_count(std::uint64_t count) { return Writer().number("count", count).done(); }

std::string encode_history(const std::optional<Position>& position, std::span<const Message> messages) {
    Writer out;
    if (position) {
        out.raw("position", Writer().text("epoch", position->epoch).number("offset", position->offset)
                                .text("id", position->id).done());
    }
    return out.list("messages", messages, message_json).done();
}

std::string encode_channels(std::span<const ChannelInfo> channels, const std::optional<std::string>& cursor, bool partial) {
    Writer out;
    out.list("channels", channels, channel_json);
    if (cursor) { out.text("cursor", *cursor); }
    if (partial) { out.boolean("partial", true); }
    return out.done();
}

std::string encode_user(std::span<const ConnectionInfo> connections, bool partial) {
    Writer out;
    out.boolean("online", !connections.empty()).list("connections", connections, connection_json);
    if (partial) { out.boolean("partial", true); }
    return out.done();
}

std::string encode_connections(std::uint64_t count) { return Writer().number("connections", count).done(); }

std::string encode_nodes(std::span<const NodeInfo> nodes) { return Writer().list("nodes", nodes, node_json).done(); }

}  // namespace starling::codec::backend

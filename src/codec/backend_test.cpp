#include "codec/backend.h"

#include <gtest/gtest.h>

namespace starling::codec::backend {
namespace {

const Limits kLimits;

template <typename T>
T accepted(std::string_view method, std::string_view target, std::string_view body = {}) {
    auto request = decode(method, target, body, kLimits);
    if (!request) {
        ADD_FAILURE() << target << ": " << request.error().error.message;
        return {};
    }
    if (!std::holds_alternative<T>(*request)) {
        ADD_FAILURE() << target << " is another call";
        return {};
    }
    return std::get<T>(*request);
}

ErrorCode refused(std::string_view method, std::string_view target, std::string_view body = {}) {
    const auto request = decode(method, target, body, kLimits);
    EXPECT_FALSE(request) << method << " " << target << " " << body;
    return request ? ErrorCode::internal : request.error().error.code;
}

TEST(Backend, DecodesEveryCall) {
    const auto publish = accepted<PublishMessage>(
        "POST", "/v1/channels/doc%3A42%2Fa/messages",
        R"({"data": {"a" : 1},"event":"e","key":"k","conflateKey":"c","exclude":"x","userId":"u","more":1})");
    EXPECT_EQ(publish.channel, "doc:42/a");
    EXPECT_EQ(publish.data, R"({"a" : 1})");
    EXPECT_EQ(publish.event, "e");
    EXPECT_EQ(publish.key, "k");
    EXPECT_EQ(publish.conflate_key, "c");
    EXPECT_EQ(publish.exclude, "x");
    EXPECT_EQ(publish.user_id, "u");

    EXPECT_EQ(accepted<Broadcast>("POST", "/v1/broadcast", R"({"channels":["a","@b"],"data":null})").channels.at(1), "@b");
    EXPECT_EQ(accepted<Notify>("POST", "/v1/users/u%20v/notifications", R"({"data":1})").user_id, "u v");
    EXPECT_EQ(accepted<NotifyMany>("POST", "/v1/notifications", R"({"users":["","v"],"data":1})").users.size(), 2u);
    EXPECT_EQ(accepted<SendDirect>("POST", "/v1/connections/c1/messages", R"({"data":1})").connection_id, "c1");
    EXPECT_TRUE(accepted<Typing>("POST", "/v1/channels/a/typing", R"({"userId":"u"})").active);
    EXPECT_FALSE(accepted<Typing>("POST", "/v1/channels/a/typing", R"({"userId":"u","active":false})").active);
    EXPECT_EQ(accepted<PresenceList>("GET", "/v1/channels/a/presence?limit=1000&cursor=x%2B").cursor, "x+");
    EXPECT_EQ(accepted<PresenceCount>("GET", "/v1/channels/a/presence/count").channel, "a");
    const auto history = accepted<History>("GET", "/v1/channels/a/messages?since=e.7.m1&limit=5&reverse=true");
    EXPECT_EQ(history.since, (Position{"e", 7, "m1"}));
    EXPECT_EQ(history.limit, 5u);
    EXPECT_TRUE(history.reverse);
    EXPECT_EQ(accepted<History>("GET", "/v1/channels/a/messages?since=e.0.").since, (Position{"e", 0, ""}));
    EXPECT_EQ(accepted<DeleteHistory>("DELETE", "/v1/channels/a/messages").channel, "a");
    EXPECT_EQ(accepted<ListChannels>("GET", "/v1/channels?prefix=doc%3A").prefix, "doc:");
    EXPECT_EQ(accepted<GetUser>("GET", "/v1/users/%C3%A9").user_id, "\xc3\xa9");
    EXPECT_EQ(accepted<DisconnectUser>("POST", "/v1/users/u/disconnect").code, 4005);
    EXPECT_EQ(accepted<DisconnectUser>("POST", "/v1/users/u/disconnect", R"({"code":4999,"reason":"r"})").code, 4999);
    const auto subscribe = accepted<SubscribeUser>("POST", "/v1/users/u/subscribe", R"({"channel":"c","presence":{"n":1}})");
    EXPECT_TRUE(subscribe.present);
    EXPECT_EQ(subscribe.presence_data, R"({"n":1})");
    for (const char* absent : {"null", "false"}) {
        const std::string body = std::string(R"({"channel":"c","presence":)") + absent + "}";
        EXPECT_FALSE(accepted<SubscribeUser>("POST", "/v1/users/u/subscribe", body).present);
    }
    EXPECT_EQ(accepted<UnsubscribeUser>("POST", "/v1/users/u/unsubscribe", R"({"channel":"c"})").channel, "c");
    accepted<GetNodes>("GET", "/v1/nodes");
}

TEST(Backend, RefusesByName) {
    using enum ErrorCode;
    struct Case { std::string_view method, target, body; ErrorCode code; };
    const Case cases[] = {
        {"GET", "/v1/channels/a/messages?limit=1001", "", bad_request},
        {"GET", "/v1/channels/a/messages?limit=0", "", bad_request},
        {"GET", "/v1/channels/a/messages?limit=+1", "", bad_request},
        {"GET", "/v1/channels/a/messages?limit=1&limit=2", "", bad_request},
        {"GET", "/v1/channels/a/messages?since=e7", "", bad_request},
        {"GET", "/v1/channels/a/messages?since=.7.m", "", bad_request},
        {"GET", "/v1/channels/a/messages?since=e..m", "", bad_request},
        {"GET", "/v1/channels/a/messages?since=e.7", "", bad_request},
        {"GET", "/v1/channels/a/messages?since=e.-7.m", "", bad_request},
        {"GET", "/v1/channels/a/messages?since=", "", bad_request},
        {"GET", "/v1/channels/a/messages?reverse=1", "", bad_request},
        {"GET", "/v1/channels?cursor=", "", bad_request},
        {"GET", "/v1/channels/%40a/messages", "", bad_request},
        {"GET", "/v1/channels/%00/messages", "", bad_request},
        {"GET", "/v1/channels/%zz/messages", "", bad_request},
        {"GET", "/v1/channels/%ff/messages", "", bad_request},
        {"GET", "/v1/channels//messages", "", bad_request},
        {"GET", "/v1/users/", "", bad_request},
        {"POST", "/v1/channels/a/messages", "", bad_request},
        {"POST", "/v1/channels/a/messages", "{", bad_request},
        {"POST", "/v1/channels/a/messages", "[]", bad_request},
        {"POST", "/v1/channels/a/messages", R"({"data":1,"data":2})", bad_request},
        {"POST", "/v1/channels/a/messages", R"({"data":1,"event":""})", bad_request},
        {"POST", "/v1/channels/a/messages", R"({"data":1,"userId":""})", bad_request},
        {"POST", "/v1/channels/a/messages", R"({"data":1,"key":"\ud800"})", bad_request},
        {"POST", "/v1/broadcast", R"({"channels":"a","data":1})", bad_request},
        {"POST", "/v1/broadcast", R"({"channels":[1],"data":1})", bad_request},
        {"POST", "/v1/users/u/disconnect", R"({"code":4099})", bad_request},
        {"POST", "/v1/users/u/disconnect", R"({"code":"4100"})", bad_request},
        {"POST", "/v1/batch", R"({"requests":[]})", bad_request},
        {"GET", "/v1/nothing", "", not_found},
        {"GET", "/v1/channels/a/b/messages", "", not_found},
        {"GET", "/v1/channels/a/messages/", "", not_found},
        {"GET", "", "", not_found},
        {"PUT", "/v1/nodes", "", bad_request},
    };
    for (const Case& c : cases) { EXPECT_EQ(refused(c.method, c.target, c.body), c.code) << c.target << c.body; }
    EXPECT_TRUE(decode("PUT", "/v1/nodes", "", kLimits).error().method_not_allowed);

    const auto body = [](std::string_view field, const std::string& value) {
        return "{\"data\":1,\"" + std::string(field) + "\":" + value + "}";
    };
    const auto quoted = [](std::size_t size) { return "\"" + std::string(size, 'a') + "\""; };
    EXPECT_EQ(refused("POST", "/v1/channels/a/messages", "{\"data\":" + quoted(65536) + "}"), too_large);
    EXPECT_EQ(refused("POST", "/v1/channels/a/messages", body("key", quoted(65))), too_large);
    EXPECT_EQ(refused("POST", "/v1/users/u/disconnect", body("reason", quoted(124))), too_large);
    EXPECT_EQ(refused("GET", "/v1/users/" + std::string(256, 'u')), too_large);
    std::string many = "[\"a\"";
    for (int i = 0; i < 1000; ++i) { many += ",\"a\""; }
    EXPECT_EQ(refused("POST", "/v1/broadcast", body("channels", many + "]")), limit_exceeded);
    EXPECT_EQ(refused("POST", "/v1/notifications", body("users", many + "]")), limit_exceeded);
}

TEST(Backend, MeasuresDepthWithoutTheBodyItself) {
    const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    accepted<PublishMessage>("POST", "/v1/channels/a/messages", "{\"data\":" + nested(128) + "}");
    EXPECT_EQ(refused("POST", "/v1/channels/a/messages", "{\"data\":" + nested(129) + "}"), ErrorCode::bad_request);
    accepted<PublishMessage>("POST", "/v1/channels/a/messages", "{\"data\":1,\"x\":" + nested(31) + "}");
    EXPECT_EQ(refused("POST", "/v1/channels/a/messages", "{\"data\":1,\"x\":" + nested(32) + "}"), ErrorCode::bad_request);
    EXPECT_TRUE(decode_batch("{\"requests\":[{\"method\":\"POST\",\"path\":\"/\",\"body\":{\"data\":" + nested(128) + "}}]}", kLimits));
}

TEST(Backend, DecodesABatch) {
    const auto batch = decode_batch(
        R"({"requests":[{"method":"POST","path":"/v1/channels/a/messages","body":{"data":1}},{"method":"GET","path":"/v1/nodes","body":null}]})",
        kLimits);
    ASSERT_TRUE(batch);
    ASSERT_EQ(batch->items.size(), 2u);
    EXPECT_EQ(batch->items[0].body, R"({"data":1})");
    EXPECT_EQ(batch->items[1].body, "");
    for (const std::string_view body : {"", "[]", "{}", R"({"requests":1})", R"({"requests":[1]})", R"({"requests":[{}]})",
                                        R"({"requests":[{"method":1,"path":"/"}]})"}) {
        EXPECT_FALSE(decode_batch(body, kLimits)) << body;
    }
    std::string many = R"({"requests":[0)";
    for (int i = 0; i < 100; ++i) { many += ",0"; }
    EXPECT_EQ(decode_batch(many + "]}", kLimits).error().error.code, ErrorCode::limit_exceeded);
}

TEST(Backend, EncodesAnswers) {
    EXPECT_EQ(encode(PublishResult{.message_id = "m", .position = Position{"e", 3, "m"}, .duplicate = true, .devices = 2}),
              R"({"messageId":"m","epoch":"e","offset":3,"duplicate":true,"devices":2})");
    const std::expected<PublishResult, Error> results[] = {PublishResult{.message_id = "m"},
                                                           std::unexpected(Error{ErrorCode::bad_request, "no"})};
    EXPECT_EQ(encode_results(results), R"({"results":[{"messageId":"m"},{"error":{"code":"bad_request","message":"no"}}]})");
    const Reply replies[] = {{200, R"({"count":1})"}, {204, ""}};
    EXPECT_EQ(encode_batch(replies), R"({"responses":[{"status":200,"body":{"count":1}},{"status":204,"body":null}]})");
    EXPECT_EQ(error_reply({ErrorCode::rate_limited, "\"x\""}).status, 429);
    EXPECT_EQ(error_reply({ErrorCode::rate_limited, "\"x\""}).body, R"({"error":{"code":"rate_limited","message":"\"x\""}})");
    const Member members[] = {{.user_id = "u", .connected_at = 5, .data = "[1]"}};
    EXPECT_EQ(encode_presence(1, members, "next", false),
              R"({"count":1,"users":[{"userId":"u","connectedAt":5,"data":[1]}],"cursor":"next"})");
    EXPECT_EQ(encode_presence(0, {}, {}, true), R"({"count":0,"users":[],"stale":true})");
    const Message messages[] = {{.id = "m", .offset = 2, .event = "e", .data = "{}", .user_id = "u", .conflate_key = {}, .time = 9}};
    EXPECT_EQ(encode_history(Position{"e", 2, "m"}, messages),
              R"({"position":{"epoch":"e","offset":2,"id":"m"},"messages":[{"event":"e","data":{},"id":"m","offset":2,"userId":"u","time":9}]})");
    EXPECT_EQ(encode_history({}, {}), R"({"messages":[]})");
    const ChannelInfo channels[] = {{"c", 2, 1}};
    EXPECT_EQ(encode_channels(channels, {}, true), R"({"channels":[{"channel":"c","subscribers":2,"present":1}],"partial":true})");
    EXPECT_EQ(encode_user({}, false), R"({"online":false,"connections":[]})");
    const ConnectionInfo connections[] = {{"c1", "n1", 7, {"a", "b"}}};
    EXPECT_EQ(encode_user(connections, false),
              R"({"online":true,"connections":[{"connectionId":"c1","nodeId":"n1","connectedAt":7,"channels":["a","b"]}]})");
    EXPECT_EQ(encode_connections(3), R"({"connections":3})");
    EXPECT_EQ(encode_count(3), R"({"count":3})");
    const NodeInfo nodes[] = {{"n1", "127.0.0.1:8000", "0.1.0", 10, 1, 2, 3, true}};
    EXPECT_EQ(encode_nodes(nodes),
              R"({"nodes":[{"nodeId":"n1","address":"127.0.0.1:8000","version":"0.1.0","uptime":10,"connections":1,"channels":2,"leaseAgeMs":3,"draining":true}]})");
}

}  // namespace
}  // namespace starling::codec::backend

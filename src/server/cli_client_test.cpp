// What publish and tail say to a gateway, and what they make of its answers.

#include "server/cli_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/cli_token.h"
#include "server/http_rig.h"
#include "server/websocket_rig.h"

namespace starling::server {
namespace {

using codec::websocket::encode_close;
using codec::websocket::encode_frame;
using codec::websocket::Opcode;

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Config with_key() {
    Config config;
    config.apps.emplace_back();
    config.apps[0].api_keys = {"first-key-first-key", "second-key-second-key"};
    return config;
}
std::string base_of(const Issuer& gateway) { return "http://" + gateway.address(); }

struct Told { std::string error, printed; };
// The error is empty where there is none.
Told publish(const Config& config, const ClientRequest& request) {
    testing::internal::CaptureStdout();
    const Done done = publish_message(config, request);
    return {done ? "" : done.error(), testing::internal::GetCapturedStdout()};
}
Told tail(const Config& config, const ClientRequest& request) {
    testing::internal::CaptureStdout();
    const Done done = tail_channel(config, request);
    return {done ? "" : done.error(), testing::internal::GetCapturedStdout()};
}

TEST(Publish, SaysTheMessageWithTheFirstKeyAndPrintsTheAnswer) {
    Issuer gateway(ok(R"({"id":"m1"})"));
    const Told told = publish(with_key(), {.url = base_of(gateway), .channel = "a b/ü?", .data = R"({"n": 1})", .event = "say \"hi\""});
    EXPECT_EQ(told.error, "");
    EXPECT_EQ(told.printed, "{\"id\":\"m1\"}\n");
    EXPECT_THAT(gateway.request(), AllOf(StartsWith("POST /v1/channels/a%20b%2F%C3%BC%3F/messages HTTP/1.1\r\n"),
                                         HasSubstr("\r\nAuthorization: Bearer first-key-first-key\r\n"),
                                         HasSubstr("\r\nContent-Type: application/json\r\n"),
                                         EndsWith("\r\n\r\n{\"data\":{\"n\": 1},\"event\":\"say \\\"hi\\\"\"}")));
}

TEST(Publish, FindsTheGatewayByUrlOrByTheConfiguration) {
    Issuer gateway(ok("{}"));
    const std::string address = gateway.address();
    for (const std::string& url : {"http://" + address + "/", address, "http://" + address + "/behind"}) {
        EXPECT_EQ(publish(with_key(), {.url = url, .channel = "c", .data = "1"}).error, "") << url;
        EXPECT_THAT(gateway.request(), HasSubstr("/v1/channels/c/messages HTTP/1.1\r\nHost: " + address + "\r\n")) << url;
    }
    EXPECT_THAT(gateway.request(), StartsWith("POST /behind/v1/"));
    Config config = with_key();
    config.server.listen = "0.0.0.0" + address.substr(address.find(':'));
    EXPECT_EQ(publish(config, {.channel = "d", .data = "1"}).error, "");
    EXPECT_THAT(gateway.request(), HasSubstr("/v1/channels/d/messages"));
}

TEST(Publish, ARefusalIsToldWithItsStatusAndBody) {
    const Issuer gateway("HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\nConnection: close\r\n\r\n{\"a\":}");
    const Told told = publish(with_key(), {.url = base_of(gateway), .channel = "c", .data = "1"});
    EXPECT_EQ(told.error, "403 {\"a\":}");
    EXPECT_EQ(told.printed, "");
}

TEST(Publish, AGatewayThatIsNotThereOrGoesAwayInMidReplyIsAnError) {
    const ReservedPort nobody;
    EXPECT_THAT(publish(with_key(), {.url = "http://" + nobody.address(), .channel = "c", .data = "1"}).error, StartsWith("http://" + nobody.address() + ": "));
    const Issuer dying("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\"");
    const Told told = publish(with_key(), {.url = base_of(dying), .channel = "c", .data = "1"});
    EXPECT_THAT(told.error, StartsWith(base_of(dying) + ": "));
    EXPECT_EQ(told.printed, "");
}

TEST(Publish, WhatCannotBeSentIsNotSent) {
    const Issuer gateway(ok("{}"));
    const std::string url = base_of(gateway);
    EXPECT_THAT(publish(with_key(), {.url = url, .channel = "c", .data = "{no"}).error, StartsWith("not JSON: "));
    EXPECT_EQ(publish(with_key(), {.url = url, .app = "shop", .channel = "c", .data = "1"}).error, "the app \"shop\" has no API key in this configuration");
    Config keyless = with_key();
    keyless.apps[0].api_keys.clear();
    EXPECT_EQ(publish(keyless, {.url = url, .channel = "c", .data = "1"}).error, "the app \"default\" has no API key in this configuration");
    EXPECT_EQ(gateway.asked(), 0);
}

TEST(Tail, PrintsMessagesAloneUntilTheGatewayEndsTheConnection) {
    std::vector<std::string> heard;
    std::string head;
    ScriptedServer gateway([&](int peer) {
        head = accept_websocket(peer);
        ClientFrames frames(peer);
        heard = {frames.next(), frames.next()};
        for (const char* text : {R"({"type":"connected"})", R"({"type":"subscribed","id":1})", R"({"type":"message","data":1})",
                                 R"({"type":"presence"})", R"({"type":"message","data":{"type":"error"}})"}) {
            say(peer, encode_frame(Opcode::text, text));
        }
        say(peer, encode_close(1012, "restarts"));
        frames.next();
    });
    Config config = with_key();
    config.development = true;
    const Told told = tail(config, {.url = "http://" + gateway.address(), .channel = "a \"b\""});
    EXPECT_EQ(told.error, "closed by the gateway with 1012 restarts");
    EXPECT_EQ(told.printed, "{\"type\":\"message\",\"data\":1}\n{\"type\":\"message\",\"data\":{\"type\":\"error\"}}\n");
    gateway.end();
    EXPECT_THAT(head, StartsWith("GET /v1/ws HTTP/1.1\r\n"));
    EXPECT_THAT(heard, ElementsAre(R"(text {"type":"connect","user":"starling-tail"})", R"(text {"type":"subscribe","id":1,"channel":"a \"b\""})"));
}

TEST(Tail, SignsATokenForThisChannelAlone) {
    std::string head, connect;
    ScriptedServer gateway([&](int peer) {
        head = accept_websocket(peer);
        ClientFrames frames(peer);
        connect = frames.next();
        frames.next();                       // All is read, or the end would be a reset.
    });
    Config config = with_key();
    config.apps[0].id = "sh op";
    config.apps[0].token_keys.push_back({.algorithm = "HS256", .secret = std::string(32, 's')});
    EXPECT_EQ(tail(config, {.url = "http://" + gateway.address(), .app = "sh op", .channel = "doc:1"}).error, "the connection broke");
    gateway.end();
    EXPECT_THAT(head, StartsWith("GET /v1/ws?app=sh%20op HTTP/1.1\r\n"));
    constexpr std::string_view kBefore = R"(text {"type":"connect","token":")";
    ASSERT_THAT(connect, StartsWith(std::string(kBefore)));
    const auto claims = inspect_token(connect.substr(kBefore.size(), connect.size() - kBefore.size() - 2));
    ASSERT_TRUE(claims) << claims.error();
    EXPECT_THAT(*claims, AllOf(HasSubstr(R"("sub":"starling-tail")"), HasSubstr(R"("can":{"doc:1":["subscribe"]})")));
}

TEST(Tail, WithoutAKeyThatSignsNobodyIsAsked) {
    const ReservedPort nobody;
    EXPECT_THAT(tail(with_key(), {.url = "http://" + nobody.address(), .channel = "c"}).error, StartsWith("tail signs a token of its own: "));
}

// What the gateway says after the subscription, and what is then told of it.
std::string ended_by(const std::string& text) {
    const ScriptedServer gateway([&](int peer) {
        accept_websocket(peer);
        ClientFrames frames(peer);
        frames.next();
        frames.next();
        say(peer, encode_frame(Opcode::text, text));
        frames.next();
    });
    Config config = with_key();
    config.development = true;
    const Told told = tail(config, {.url = "http://" + gateway.address(), .channel = "c"});
    EXPECT_EQ(told.printed, "");
    return told.error;
}

TEST(Tail, EndsWithWhatTheGatewayRefuses) {
    EXPECT_EQ(ended_by(R"({"type":"error","code":"forbidden","message":"no \"subscribe\" here"})"), "forbidden: no \"subscribe\" here");
    EXPECT_EQ(ended_by(R"({"type":"unsubscribed","code":"kicked"})"), "unsubscribed: kicked");
    EXPECT_THAT(ended_by("{\"type\":"), StartsWith("the gateway sent what is not JSON: "));
    EXPECT_EQ(ended_by("[1]"), "the gateway sent JSON that is no object");
    EXPECT_EQ(ended_by(R"({"a":1,"a":2})"), "the gateway sent a: the key is there twice");
}

TEST(IsAlive, OnlyOfAGatewayThatSaysSo) {
    const auto alive = [](const Issuer& there) { return is_alive(HttpScheme::http, *parse_endpoint(there.address())); };
    Issuer gateway(ok("{}"));
    EXPECT_TRUE(alive(gateway));
    EXPECT_THAT(gateway.request(), StartsWith("GET /health/live HTTP/1.1\r\n"));
    EXPECT_FALSE(alive(Issuer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")));
    EXPECT_FALSE(alive(Issuer("SSH-2.0-OpenSSH_9.2\r\n")));
    Endpoint any = *parse_endpoint(gateway.address());
    any.host = "0.0.0.0";
    EXPECT_TRUE(is_alive(HttpScheme::http, any));
    const ReservedPort nobody;
    EXPECT_FALSE(is_alive(HttpScheme::http, {.host = "127.0.0.1", .port = nobody.port()}));
}

}  // namespace
}  // namespace starling::server

// The command line's WebSocket against a server that keeps to the protocol, and against servers that do not.

#include "server/cli_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/handshake.h"
#include "server/client_rig.h"
#include "server/websocket_rig.h"

namespace starling::server {
namespace {

using codec::websocket::encode_close;
using codec::websocket::encode_frame;
using codec::websocket::encode_masked;
using codec::websocket::Opcode;

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

// Why a server that answers with this is no gateway.
std::string why_no_gateway(const std::string& answer) {
    const ScriptedServer server([&](int peer) {
        receive(peer, "\r\n\r\n");
        say(peer, answer);
    });
    const auto socket = ClientSocket::open("http://" + server.address(), "/v1/ws");
    return socket ? "none" : socket.error();
}
// How a connection ends on which this is sent.
std::string end_of(const std::string& bytes) {
    const ScriptedServer server([&](int peer) {
        accept_websocket(peer);
        say(peer, bytes);
    });
    auto socket = ClientSocket::open("http://" + server.address(), "/v1/ws");
    if (!socket) { return socket.error(); }
    const auto text = socket->next_text();
    return text ? "text " + *text : text.error();
}

TEST(ClientSocket, AsksAsAWebSocketDoesAndReadsWhatCameWithTheAnswer) {
    std::string head;
    ScriptedServer server([&](int peer) { head = accept_websocket(peer, encode_frame(Opcode::text, "at once") + encode_frame(Opcode::text, "and more")); });
    auto socket = ClientSocket::open("http://" + server.address(), "/v1/ws?app=a");
    ASSERT_TRUE(socket) << socket.error();
    EXPECT_EQ(socket->next_text().value(), "at once");
    EXPECT_EQ(socket->next_text().value(), "and more");
    server.end();
    EXPECT_THAT(head, AllOf(StartsWith("GET /v1/ws?app=a HTTP/1.1\r\n"), HasSubstr("\r\nHost: " + server.address() + "\r\n"),
                            HasSubstr("\r\nSec-WebSocket-Protocol: starling.v1.json\r\n")));
}

TEST(ClientSocket, AProxyMayHaveTheGatewayUnderAPath) {
    std::string head;
    ScriptedServer server([&](int peer) { head = accept_websocket(peer, encode_frame(Opcode::text, "x")); });
    auto socket = ClientSocket::open("http://" + server.address() + "/behind", "/v1/ws");
    ASSERT_TRUE(socket) << socket.error();
    EXPECT_EQ(socket->next_text().value(), "x");
    server.end();
    EXPECT_THAT(head, AllOf(StartsWith("GET /behind/v1/ws HTTP/1.1\r\n"), HasSubstr("\r\nHost: " + server.address() + "\r\n")));
}

TEST(ClientSocket, SendsMaskedTextAndAnswersPings) {
    std::vector<std::string> heard;
    ScriptedServer server([&](int peer) {
        accept_websocket(peer);
        ClientFrames frames(peer);
        heard.push_back(frames.next());
        say(peer, encode_frame(Opcode::ping, "are you there"));
        heard.push_back(frames.next());
        // A message in three frames with a ping between, and each byte of it in a piece of its own.
        const std::string parts = std::string("\x01\x02on", 4) + encode_frame(Opcode::ping, "") + std::string("\x00\x01" "e", 3) + std::string("\x80\x00", 2);
        for (const char byte : parts) { say(peer, {&byte, 1}); }
        heard.push_back(frames.next());
    });
    auto socket = ClientSocket::open("http://" + server.address(), "/v1/ws");
    ASSERT_TRUE(socket);
    const std::string large(100'000, 'a');
    ASSERT_TRUE(socket->send_text(large));
    EXPECT_EQ(socket->next_text().value(), "one");
    EXPECT_EQ(socket->next_text().error(), "the connection broke");
    server.end();
    ASSERT_EQ(heard.size(), 3U);
    EXPECT_EQ(heard[0], "text " + large);
    EXPECT_EQ(heard[1], "pong are you there");
    EXPECT_EQ(heard[2], "pong ");
}

TEST(ClientSocket, ACloseIsToldWithItsCodeAndAnswered) {
    std::string heard;
    ScriptedServer server([&](int peer) {
        accept_websocket(peer);
        say(peer, encode_close(4001, "go away"));
        heard = ClientFrames(peer).next();
    });
    auto socket = ClientSocket::open("http://" + server.address(), "/v1/ws");
    ASSERT_TRUE(socket);
    EXPECT_EQ(socket->next_text().error(), "closed by the gateway with 4001 go away");
    EXPECT_FALSE(socket->next_text());       // The end of the stream, by which the answer has been heard.
    server.end();
    EXPECT_EQ(heard, "close");
}

TEST(ClientSocket, SaysWhyAServerIsNoGateway) {
    EXPECT_THAT(why_no_gateway("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), EndsWith(": HTTP/1.1 404 Not Found"));
    EXPECT_THAT(why_no_gateway("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: bm90IG91cnM=\r\n\r\n"), EndsWith(": not an answer to a WebSocket's handshake"));
    EXPECT_THAT(why_no_gateway("HTTP/1.1 101 Switching Protocols\r\n\r\n"), EndsWith(": not an answer to a WebSocket's handshake"));
    EXPECT_THAT(why_no_gateway("SSH-2.0-OpenSSH_9.2\r\n\r\n"), EndsWith(": SSH-2.0-OpenSSH_9.2"));
    EXPECT_THAT(why_no_gateway("HTTP/1.1 101 Sw"), EndsWith("the connection broke"));
    EXPECT_THAT(why_no_gateway(""), EndsWith("the connection broke"));
    EXPECT_THAT(why_no_gateway("HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x')), EndsWith(": not a gateway"));
}

TEST(ClientSocket, DoesNotWaitForEverForAnAnswerToTheHandshake) {
    const ScriptedServer silent([](int peer) { receive(peer); });
    const auto socket = ClientSocket::open("http://" + silent.address(), "/v1/ws", std::chrono::milliseconds(100));
    ASSERT_FALSE(socket);
    EXPECT_THAT(socket.error(), EndsWith("no answer to the handshake"));
}

TEST(ClientSocket, NobodyThereIsAnErrorThatNamesTheAddress) {
    const ReservedPort nobody;
    const auto socket = ClientSocket::open("http://" + nobody.address(), "/v1/ws");
    ASSERT_FALSE(socket);
    EXPECT_THAT(socket.error(), StartsWith("http://" + nobody.address() + ": "));
}

TEST(ClientSocket, SaysHowAConnectionEnds) {
    EXPECT_EQ(end_of(""), "the connection broke");
    EXPECT_EQ(end_of(encode_frame(Opcode::text, "half of it").substr(0, 5)), "the connection broke");
    EXPECT_EQ(end_of(encode_frame(Opcode::binary, "passed over") + encode_frame(Opcode::text, "it")), "text it");
    EXPECT_EQ(end_of(encode_masked({.payload = "masked"})), "the gateway broke the protocol: a server's frame is masked");
    EXPECT_THAT(end_of(encode_frame(Opcode::text, "\xff\xfe")), StartsWith("the gateway broke the protocol: "));
}

}  // namespace
}  // namespace starling::server

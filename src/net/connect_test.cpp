// Connections that we make, plain and by TLS with a certificate made for the test.

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>

#include "net/certificate_rig.h"
#include "net/transport.h"

namespace starling::net {
namespace {

using testing::HasSubstr;

// Two ends in one transport: the listener's connections echo.
struct Ends {
    Transport transport;
    std::string received;                    // By our outgoing connection.
    bool connected = false;
    bool closed = false;
    std::string reason;
    ConnectionId ours;

    void run(Duration time, const std::function<bool()>& done) {
        for (Duration passed{}; passed < time && !done(); passed += 10ms) {
            std::vector<Event> events;
            transport.wait(10ms, events);
            for (const Event& event : events) {
                if (event.kind == Event::Kind::connected) {
                    connected = connected || event.connection == ours;
                } else if (event.kind == Event::Kind::closed && event.connection == ours) {
                    closed = true;
                    reason = transport.why_closed(ours);
                } else if (event.kind == Event::Kind::readable) {
                    const auto bytes = transport.read(event.connection);
                    if (event.connection == ours) {
                        received.append(bytes.data(), bytes.size());
                    } else {
                        transport.send(event.connection, SharedBytes(ByteView(bytes.data(), bytes.size())));
                    }
                }
            }
            transport.flush();
        }
    }
};

TEST(Connect, CarriesBytesBothWays) {
    Ends ends;
    const auto port = ends.transport.listen("127.0.0.1", 0, 1);
    ASSERT_TRUE(port);
    ends.ours = ends.transport.connect("127.0.0.1", *port, nullptr);
    ends.run(5s, [&] { return ends.connected; });
    ASSERT_TRUE(ends.connected);
    ends.transport.send(ends.ours, SharedBytes("hello"));
    ends.transport.flush();
    ends.run(5s, [&] { return ends.received == "hello"; });
    EXPECT_EQ(ends.received, "hello");
    ends.transport.abandon(ends.ours);
    ends.run(200ms, [&] { return ends.transport.connection_count() == 0; });
    EXPECT_EQ(ends.transport.connection_count(), 0U);
    EXPECT_FALSE(ends.closed);
}

TEST(Connect, TellsWhyItFailed) {
    Ends ends;
    // A port that was free a moment ago: bound, and nobody listens.
    const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(descriptor, reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size), 0);
    ends.ours = ends.transport.connect("127.0.0.1", ntohs(address.sin_port), nullptr);
    ends.run(5s, [&] { return ends.closed; });
    EXPECT_TRUE(ends.closed);
    EXPECT_EQ(ends.reason, "Connection refused");
    ::close(descriptor);
}

TEST(Connect, LooksUpNamesAndTriesAllTheirAddresses) {
    Ends ends;
    // On most systems localhost is ::1 first, where nobody listens here.
    const auto port = ends.transport.listen("127.0.0.1", 0, 1);
    ASSERT_TRUE(port);
    ends.ours = ends.transport.connect("localhost", *port, nullptr);
    EXPECT_FALSE(ends.connected);
    ends.run(5s, [&] { return ends.connected || ends.closed; });
    EXPECT_TRUE(ends.connected) << ends.reason;

    ends.ours = ends.transport.connect("no such host", 1, nullptr);
    ends.run(20s, [&] { return ends.closed; });
    EXPECT_EQ(ends.reason, "the host is unknown");
}

TEST(Connect, OneThatWasAbandonedWhileItIsLookedUpIsForgotten) {
    Ends ends;
    ends.ours = ends.transport.connect("localhost", 1, nullptr);
    ends.transport.abandon(ends.ours);
    ends.run(300ms, [&] { return ends.closed || ends.connected; });
    EXPECT_FALSE(ends.closed || ends.connected);
    EXPECT_EQ(ends.transport.connection_count(), 0U);
}

TEST(Connect, SpeaksTlsToAServerItCanVerify) {
    const Certificate certificate("IP:127.0.0.1");
    Ends ends;
    const auto port = ends.transport.listen("127.0.0.1", 0, 1);
    ASSERT_TRUE(port);
    const auto server = TlsContext::load(certificate.certificate, certificate.key);
    ASSERT_TRUE(server) << server.error();
    ends.transport.set_tls(1, *server);
    const auto client = TlsContext::client(certificate.certificate);
    ASSERT_TRUE(client) << client.error();
    ends.ours = ends.transport.connect("127.0.0.1", *port, *client);
    ends.run(5s, [&] { return ends.connected; });
    // Sent before the handshake is done; and more than one record.
    const std::string text(200'000, 'x');
    ends.transport.send(ends.ours, SharedBytes(ByteView(text)));
    ends.transport.flush();
    ends.run(5s, [&] { return ends.received.size() == text.size() || ends.closed; });
    EXPECT_EQ(ends.received, text) << ends.reason;
}

// The last words and the end of the session in one packet, as a client sends them that says farewell and goes.
TEST(Connect, WhatCameInFrontOfTheEndOfTlsIsRead) {
    const Certificate certificate("IP:127.0.0.1");
    Transport transport;
    const auto port = transport.listen("127.0.0.1", 0, 1);
    ASSERT_TRUE(port);
    transport.set_tls(1, *TlsContext::load(certificate.certificate, certificate.key));
    std::jthread client([&] {
        const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
        EXPECT_EQ(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        SSL_CTX* context = SSL_CTX_new(TLS_client_method());
        SSL* session = SSL_new(context);
        SSL_set_fd(session, descriptor);
        EXPECT_EQ(SSL_connect(session), 1);
        const int cork = 1;
        ::setsockopt(descriptor, IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
        SSL_write(session, "farewell", 8);
        SSL_shutdown(session);
        ::shutdown(descriptor, SHUT_WR);
        char answer[8] = {};
        EXPECT_EQ(SSL_read(session, answer, sizeof answer), 3);
        EXPECT_STREQ(answer, "bye");
        SSL_free(session);
        SSL_CTX_free(context);
        ::close(descriptor);
    });
    std::string got;
    bool closed = false;
    for (int turns = 0; turns < 500 && !closed; ++turns) {
        std::vector<Event> events;
        transport.wait(10ms, events);
        for (const Event& event : events) {
            closed = closed || event.kind == Event::Kind::closed;
            if (event.kind != Event::Kind::readable) { continue; }
            const auto bytes = transport.read(event.connection);
            got.append(bytes.data(), bytes.size());
            EXPECT_TRUE(bytes.empty() || transport.read(event.connection).empty());
            if (!bytes.empty()) { transport.send(event.connection, SharedBytes("bye")); }
        }
        transport.flush();
    }
    EXPECT_EQ(got, "farewell");
    EXPECT_TRUE(closed);
    EXPECT_EQ(transport.connection_count(), 0U);
}

TEST(Connect, RefusesACertificateOfSomebodyElse) {
    const Certificate certificate("DNS:other.example");
    const Certificate unrelated("IP:127.0.0.1");
    for (const Certificate* authority : {&certificate, &unrelated}) {
        Ends ends;
        const auto port = ends.transport.listen("127.0.0.1", 0, 1);
        ASSERT_TRUE(port);
        ends.transport.set_tls(1, *TlsContext::load(certificate.certificate, certificate.key));
        ends.ours = ends.transport.connect("127.0.0.1", *port, *TlsContext::client(authority->certificate));
        ends.run(5s, [&] { return ends.connected; });
        ends.transport.send(ends.ours, SharedBytes("the password"));
        ends.transport.flush();
        ends.run(5s, [&] { return ends.closed; });
        EXPECT_TRUE(ends.closed);
        EXPECT_THAT(ends.reason, HasSubstr("TLS: "));
        EXPECT_EQ(ends.received, "");
    }
}

TEST(Connect, AFileWithoutAuthoritiesIsAnError) {
    const auto client = TlsContext::client("/nonexistent.pem");
    ASSERT_FALSE(client);
    EXPECT_THAT(client.error(), HasSubstr("/nonexistent.pem"));
}

}  // namespace
}  // namespace starling::net

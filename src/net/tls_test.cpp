#include "net/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "net/certificate_rig.h"

namespace starling::net {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// A client and a server, and what each has read; bytes go between them in pieces.
struct Line {
    Line(const std::shared_ptr<TlsContext>& served, const std::shared_ptr<TlsContext>& trusted, const std::string& host)
        : server(served), client(trusted, host) {}
    // Until neither has anything to send; false: one of them gave up.
    bool run(std::size_t piece = 65536) {
        while (true) {
            const std::string up = client.take_output();
            const std::string down = server.take_output();
            if (up.empty() && down.empty()) { return true; }
            if (!feed(server, up, piece, at_server) || !feed(client, down, piece, at_client)) { return false; }
        }
    }
    static bool feed(TlsSession& session, std::string_view bytes, std::size_t piece, std::string& plain) {
        for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
            if (!session.receive(bytes.substr(0, piece), plain)) { return false; }
        }
        return true;
    }

    TlsSession server, client;
    std::string at_server, at_client;
};

class Tls : public testing::Test {
 protected:
    Certificate files{"DNS:gateway.test,IP:127.0.0.1"};
    std::shared_ptr<TlsContext> served = *TlsContext::load(files.certificate, files.key);
    std::shared_ptr<TlsContext> trusted = *TlsContext::client(files.certificate);
};

TEST_F(Tls, WhatIsSaidBeforeTheHandshakeWaitsForIt) {
    Line line(served, trusted, "gateway.test");
    line.client.encrypt("hello ");
    line.client.encrypt("there");
    line.server.encrypt("welcome");
    ASSERT_TRUE(line.run());
    EXPECT_EQ(line.at_server, "hello there");
    EXPECT_EQ(line.at_client, "welcome");
}

TEST_F(Tls, BytesMayComeInAnyPieces) {
    const std::string large(100000, 'x');
    Line line(served, trusted, "127.0.0.1");
    ASSERT_TRUE(line.run(1));
    line.server.encrypt(large);
    line.client.encrypt(large);
    ASSERT_TRUE(line.run(1));
    EXPECT_EQ(line.at_client, large);
    EXPECT_EQ(line.at_server, large);
}

TEST_F(Tls, AnotherNameOrAnUnknownAuthorityIsRefusedWithItsReason) {
    Line named(served, trusted, "other.test");
    EXPECT_FALSE(named.run());
    EXPECT_THAT(named.client.failure(), AllOf(StartsWith("TLS: "), HasSubstr("ostname mismatch")));
    const Certificate foreign("DNS:gateway.test");
    Line unknown(served, *TlsContext::client(foreign.certificate), "gateway.test");
    EXPECT_FALSE(unknown.run());
    EXPECT_THAT(unknown.client.failure(), HasSubstr("self-signed certificate"));
}

TEST_F(Tls, WhatIsNoTlsEndsTheSession) {
    for (const char* text : {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01\xff\xff", "\x80\x2e\x01"}) {
        TlsSession session(served);
        std::string plain;
        const bool alive = session.receive(text, plain);
        EXPECT_TRUE(!alive || session.receive(std::string(70000, '\0'), plain) == false) << text;
        EXPECT_EQ(plain, "");
    }
}

TEST_F(Tls, ARecordThatWasChangedOnTheWayEndsTheSession) {
    Line line(served, trusted, "gateway.test");
    ASSERT_TRUE(line.run());
    line.client.encrypt("pay 1");
    std::string bytes = line.client.take_output();
    bytes[bytes.size() / 2] ^= 1;
    EXPECT_FALSE(line.server.receive(bytes, line.at_server));
    EXPECT_EQ(line.at_server, "");
}

TEST_F(Tls, OlderThanOnePointTwoAndRenegotiationAreRefused) {
    auto* old = static_cast<SSL_CTX*>(trusted->native());
    SSL_CTX_set_min_proto_version(old, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
    SSL_CTX_set_cipher_list(old, "ALL:@SECLEVEL=0");
    Line line(served, trusted, "gateway.test");
    EXPECT_FALSE(line.run());
    const auto* server = static_cast<SSL_CTX*>(served->native());
    EXPECT_EQ(SSL_CTX_get_min_proto_version(const_cast<SSL_CTX*>(server)), TLS1_2_VERSION);
    EXPECT_NE(SSL_CTX_get_options(server) & SSL_OP_NO_RENEGOTIATION, 0U);
    EXPECT_NE(SSL_CTX_get_options(server) & SSL_OP_NO_COMPRESSION, 0U);
}

TEST_F(Tls, ASessionKeepsTheContextItBeganWith) {
    Line line(served, trusted, "gateway.test");
    served.reset();
    ASSERT_TRUE(line.run());
    line.client.encrypt("still here");
    ASSERT_TRUE(line.run());
    EXPECT_EQ(line.at_server, "still here");
}

TEST_F(Tls, FilesThatAreWrongAreNamed) {
    const auto missing = TlsContext::load("/nowhere/cert.pem", files.key);
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error(), StartsWith("/nowhere/cert.pem: "));
    const Certificate other("DNS:other.test");
    const auto mixed = TlsContext::load(files.certificate, other.key);
    ASSERT_FALSE(mixed);
    EXPECT_THAT(mixed.error(), StartsWith(other.key));
    EXPECT_FALSE(TlsContext::client("/nowhere/authorities.pem"));
}

}  // namespace
}  // namespace starling::net

#include "codec/proxy_protocol.h"

#include <gtest/gtest.h>

namespace starling::codec {
namespace {

using Status = ProxyHeader::Status;
using namespace std::string_literals;

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string binary(char command, char family, const std::string& body) {
    return kSignature + command + family + static_cast<char>(body.size() >> 8) + static_cast<char>(body.size()) + body;
}

TEST(ProxyHeader, ReadsTheClientOfVersionOne) {
    const auto header = read_proxy_header("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET /");
    EXPECT_EQ(header.status, Status::complete);
    EXPECT_EQ(header.address, "192.0.2.1");
    EXPECT_EQ(header.port, 56324);
    EXPECT_EQ(header.consumed, 45U);
    EXPECT_EQ(read_proxy_header("PROXY TCP6 2001:DB8:0::1 ::1 1 2\r\n").address, "2001:db8::1");
}

TEST(ProxyHeader, ReadsTheClientOfVersionTwo) {
    const auto four = read_proxy_header(binary('\x21', '\x11', "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"s) + "GET /");
    EXPECT_EQ(four.status, Status::complete);
    EXPECT_EQ(four.address, "192.0.2.1");
    EXPECT_EQ(four.port, 56324);
    EXPECT_EQ(four.consumed, 28U);
    const auto six = read_proxy_header(binary('\x21', '\x21', "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01"s + std::string(16, '\0') + "\0\x01\0\x02"s + "extensions"));
    EXPECT_EQ(six.address, "2001:db8::1");
    EXPECT_EQ(six.consumed, 62U);
}

TEST(ProxyHeader, NamesNobodyForTheProxysOwnConnections) {
    for (const std::string& text : {"PROXY UNKNOWN\r\n"s, "PROXY UNKNOWN ffff::1 x 1 2\r\n"s, binary('\x20', '\0', ""),
                                    binary('\x20', '\x11', "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"s), binary('\x21', '\0', ""),
                                    binary('\x21', '\x31', std::string(216, 'a'))}) {
        const auto header = read_proxy_header(text);
        EXPECT_EQ(header.status, Status::complete) << text;
        EXPECT_EQ(header.address, "") << text;
        EXPECT_EQ(header.consumed, text.size());
    }
}

TEST(ProxyHeader, WaitsForItsEndAtEveryCut) {
    for (const std::string& text : {"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"s,
                                    binary('\x21', '\x11', "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"s)}) {
        for (std::size_t size = 0; size < text.size(); ++size) {
            EXPECT_EQ(read_proxy_header(std::string_view(text).substr(0, size)).status, Status::need_more) << size;
        }
    }
}

TEST(ProxyHeader, IsAbsentWhereAnythingElseBegins) {
    for (const std::string& text : {"GET / HTTP/1.1\r\n"s, "POST"s, "\x16\x03\x01"s, "PROXYTCP4"s, "\r\nGET"s, "PUT"s}) {
        EXPECT_EQ(read_proxy_header(text).status, Status::absent) << text;
    }
}

TEST(ProxyHeader, RefusesWhatOnlyBeginsLikeOne) {
    for (const std::string& text :
         {"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n"s, "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n"s,
          "PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n"s, "PROXY TCP4 ::1 ::1 1 2\r\n"s, "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"s,
          "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n"s, "PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n"s,
          "PROXY TCP4  192.0.2.1 198.51.100.2 1 443\r\n"s, "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n"s,
          "PROXY TCP4 192.0.2.1\0 198.51.100.2 1 443\r\n"s, "PROXY \r\n"s, "PROXY "s + std::string(200, 'x'),
          kSignature + "\x11\x11\0\0"s, kSignature + "\x22\x11\0\0"s, kSignature + "\x21\x11\xff\xff"s,
          binary('\x21', '\x11', "\xc0\x00\x02\x01"), binary('\x21', '\x21', std::string(35, 'a'))}) {
        EXPECT_EQ(read_proxy_header(text).status, Status::malformed) << text;
    }
}

}  // namespace
}  // namespace starling::codec

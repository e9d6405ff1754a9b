#include "codec/http.h"

#include <gtest/gtest.h>

namespace starling::codec::http {
namespace {

// Feeds `text` in pieces of `step` bytes; the status of the first request: 200, or what it failed with.
int outcome(std::string_view text, std::size_t step, Request* out = nullptr, std::size_t body_limit = 1000) {
    Parser parser;
    for (std::size_t at = 0; at <= text.size();) {
        const auto result = parser.feed(text.substr(at, std::min(step, text.size() - at)));
        at += result.consumed;
        if (result.status == Parser::Status::failed) { return parser.error_status(); }
        if (result.status == Parser::Status::head) {
            parser.set_body_limit(body_limit);
            continue;
        }
        if (result.status == Parser::Status::complete) {
            if (out != nullptr) { *out = parser.take(); }
            return 200;
        }
        if (at == text.size()) { return 0; }
    }
    return 0;
}

TEST(Http, RefusesWhatIsAmbiguousAtEverySplit) {
    struct Case {
        std::string_view text;
        int status;
    };
    static constexpr Case kCases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3,3\r\n\r\nabc", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nabc", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", 415},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", 413},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400},
    };
    for (const Case& c : kCases) {
        for (std::size_t step = 1; step <= c.text.size(); ++step) {
            EXPECT_EQ(outcome(c.text, step), c.status) << c.text << " in steps of " << step;
        }
    }
    EXPECT_NE(outcome("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 999), 200);
    EXPECT_EQ(outcome("GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 999), 414);
    std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (int i = 0; i < 2000; ++i) { many += "x: y\r\n"; }
    EXPECT_EQ(outcome(many + "\r\n", 999), 431);
    EXPECT_EQ(outcome("GET / HTTP/1.1\r\nHost: a\r\nx: " + std::string(70000, 'y') + "\r\n\r\n", 999), 431);
}

TEST(Http, TakesPipelinedRequestsOneByOne) {
    const std::string_view text = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b?c=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    Parser parser;
    std::vector<std::string> seen;
    for (std::size_t at = 0; at < text.size() || seen.size() < 2;) {
        const auto step = parser.feed(text.substr(at));
        at += step.consumed;
        ASSERT_NE(step.status, Parser::Status::failed);
        if (step.status == Parser::Status::complete) {
            const Request request = parser.take();
            seen.push_back(request.method + " " + std::string(request.path()) + " " + request.body);
        }
    }
    EXPECT_EQ(seen[0], "GET /a ");
    EXPECT_EQ(seen[1], "POST /b hi");
}

TEST(Http, LeavesTheBytesAfterAnUpgrade) {
    const std::string_view text = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x80";
    Parser parser;
    auto step = parser.feed(text);
    ASSERT_EQ(step.status, Parser::Status::head);
    std::size_t at = step.consumed;
    step = parser.feed(text.substr(at));
    ASSERT_EQ(step.status, Parser::Status::complete);
    at += step.consumed;
    EXPECT_EQ(text.substr(at), "\x81\x80");
    EXPECT_TRUE(parser.request().upgrade);
}

TEST(Http, NeverWritesALineBreakInAHeader) {
    const std::string text = encode({.status = 400, .body = "{}", .headers = {{"X", "a\r\nb"}, {"Y", "z"}}});
    EXPECT_EQ(text.find("X:"), std::string::npos);
    EXPECT_NE(text.find("Y: z\r\n"), std::string::npos);
}

TEST(Http, DecodesPercentsStrictly) {
    std::string out;
    EXPECT_TRUE(percent_decode("doc%3A42", false, out));
    EXPECT_EQ(out, "doc:42");
    for (const char* bad : {"%", "%4", "%zz", "%ff"}) { EXPECT_FALSE(percent_decode(bad, false, out)); }
}

}  // namespace
}  // namespace starling::codec::http

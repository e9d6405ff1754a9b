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
        // H1
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
        // H2
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\013\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        // H3
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  5\t\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nabcde", 400},
        // H4
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
        // H5
        {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        {"GET / HTTP/1.1\rHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX:\rY: z\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\001b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400},
        // H6
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;\na\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\na", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 x\r\na\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 9\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: b\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
        {"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n3;a=b\r\nabc\r\n00\r\n\r\n", 200},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413},
        // H7
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 200},
        // H8
        {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200},
        // H9
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: \r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 200},
        {"GET / HTTP/1.1\r\nHost: a.b:80\r\n\r\n", 200},
        {"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", 200},
        {"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200},
        // H10
        {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET HTTP://A HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET /# HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        // H14
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10737418240\r\n\r\n", 413},
        // H15
        {"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 200},
        {"POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 3\r\n\r\nabc", 417},
        // H19
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
        {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
        {"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /\r\nHost: a\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"\026\003\001", 400},
        // H21
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", 415},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: identity\r\nContent-Length: 1\r\n\r\na", 200},
        // And what is right.
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200},
        {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"\r\n\r\nGET", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t z \r\n\r\n", 200},
        {"GET / HTTP/1.0\r\n\r\n", 200},
    };
    for (const Case& c : kCases) {
        for (std::size_t step = 1; step <= c.text.size(); ++step) {
            EXPECT_EQ(outcome(c.text, step), c.status) << c.text << " in steps of " << step;
        }
    }
    EXPECT_EQ(outcome(std::string_view("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 34), 999), 400);
    const std::string chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    EXPECT_EQ(outcome(chunked + "1;" + std::string(65536, 'x') + "\r\na\r\n0\r\n\r\n", 999), 400);
    EXPECT_EQ(outcome("GET /" + std::string(1 << 20, 'a'), 4096), 414);
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
        if (step.status == Parser::Status::head) { parser.set_body_limit(2); }
        if (step.status == Parser::Status::complete) {
            const Request request = parser.take();
            seen.push_back(request.method + " " + std::string(request.path()) + " " + request.body);
        }
    }
    EXPECT_EQ(seen[0], "GET /a ");
    EXPECT_EQ(seen[1], "POST /b hi");
}

TEST(Http, SaysWhatARequestAsksFor) {
    Request request;
    EXPECT_EQ(outcome("GET http://A/x?y HTTP/1.1\r\nHOST: a\r\nX:\r\nY: \t z \r\nConnection: TE, Close\r\n\r\n", 7, &request), 200);
    EXPECT_EQ(request.target, "/x?y");
    EXPECT_EQ(request.path(), "/x");
    EXPECT_EQ(*request.header("x"), "");
    EXPECT_EQ(*request.header("y"), "z");
    EXPECT_EQ(request.header("z"), nullptr);
    EXPECT_FALSE(request.keep_alive);
    EXPECT_FALSE(request.upgrade);
    // A body behind the wish for another protocol is that request's, and no upgrade.
    EXPECT_EQ(outcome("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 3, &request), 200);
    EXPECT_EQ(request.body, "abc");
    EXPECT_FALSE(request.upgrade);
    EXPECT_TRUE(request.expects_continue);
}

TEST(Http, HoldsNothingBetweenRequestsAndStaysFailed) {
    Parser parser;
    EXPECT_FALSE(parser.started());
    const std::string_view text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    EXPECT_EQ(parser.feed(text).status, Parser::Status::head);
    EXPECT_TRUE(parser.started());
    EXPECT_EQ(parser.feed("").status, Parser::Status::complete);
    EXPECT_EQ(parser.feed("GET").consumed, 0u);       // The next request waits until this one is taken.
    parser.take();
    EXPECT_FALSE(parser.started());
    EXPECT_EQ(parser.feed("").status, Parser::Status::need_more);
    EXPECT_EQ(parser.feed("\n").status, Parser::Status::failed);
    EXPECT_EQ(parser.feed(text).status, Parser::Status::failed);
    EXPECT_EQ(parser.error_status(), 400);
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

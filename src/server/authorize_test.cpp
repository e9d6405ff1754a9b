#include "server/authorize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>

#include "server/http_rig.h"

namespace starling::server {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

AuthorizeAnswer ask(AuthorizeClient& client, const std::string& url, const std::string& body = "{}") {
    std::promise<AuthorizeAnswer> told;
    client.ask(url, body, {.session = {3, 4}, .ticket = 5, .allow = false, .data = {}},
               [&](AuthorizeAnswer answer) { told.set_value(std::move(answer)); });
    return told.get_future().get();
}

TEST(Authorize, TheApplicationIsAskedByPostAndItsAnswerGoesToWhoAsked) {
    Issuer application(ok(R"({"data":{"name":"Ada"},"allow":true,"more":[1]})"));
    AuthorizeClient client;
    const auto answer = ask(client, application.url(), R"({"userId":"ada","action":"subscribe"})");
    EXPECT_TRUE(answer.allow);
    EXPECT_EQ(answer.data, R"({"name":"Ada"})");
    EXPECT_EQ(answer.session, (domain::SessionId{3, 4}));
    EXPECT_EQ(answer.ticket, 5U);
    EXPECT_THAT(application.request(), StartsWith("POST /keys HTTP/1.1\r\n"));
    EXPECT_THAT(application.request(), HasSubstr("Content-Type: application/json\r\n"));
    EXPECT_THAT(application.request(), HasSubstr(R"({"userId":"ada","action":"subscribe"})"));
}

TEST(Authorize, AnythingButAllowTrueRefuses) {
    AuthorizeClient client;
    for (const char* body : {"", "true", "[]", "{}", R"({"allow":false})", R"({"allow":"true"})", R"({"allow":1})", R"({"allow":true)",
                             R"({"allow":true} x)", R"({"allow":true,"allow":true})", "{\"allow\":true,\"data\":\"\xff\"}"}) {
        Issuer application(ok(body));
        EXPECT_FALSE(ask(client, application.url()).allow) << body;
    }
    for (const char* head : {"HTTP/1.1 204 No Content\r\n", "HTTP/1.1 500 Oops\r\n", "HTTP/1.1 403 No\r\n", "nonsense\r\n"}) {
        Issuer application(std::string(head) + "Content-Length: 14\r\nConnection: close\r\n\r\n{\"allow\":true}");
        EXPECT_FALSE(ask(client, application.url()).allow) << head;
    }
}

TEST(Authorize, ARedirectIsNotFollowed) {
    Issuer elsewhere(ok(R"({"allow":true})"));
    Issuer application("HTTP/1.1 302 Found\r\nLocation: " + elsewhere.url() + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    AuthorizeClient client;
    EXPECT_FALSE(ask(client, application.url()).allow);
    EXPECT_EQ(elsewhere.asked(), 0);
}

TEST(Authorize, ALongAnswerIsNotReadToItsEnd) {
    Issuer application(ok(R"({"allow":true,"data":")" + std::string(70000, 'x') + "\"}"));
    AuthorizeClient client;
    EXPECT_FALSE(ask(client, application.url()).allow);
}

TEST(Authorize, OtherSchemesAndNobodyThereRefuse) {
    AuthorizeClient client;
    EXPECT_FALSE(ask(client, "file:///etc/hostname").allow);
    EXPECT_FALSE(ask(client, "http://127.0.0.1:1/").allow);
    EXPECT_FALSE(ask(client, "").allow);
}

TEST(Authorize, WhoIsSilentIsWaitedForThreeSeconds) {
    Issuer application("");
    AuthorizeClient client;
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(ask(client, application.url()).allow);
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(took, 2900ms);
    EXPECT_LT(took, 8s);
}

TEST(Authorize, MoreThanAThousandThatWaitAreRefusedAtOnce) {
    std::atomic<int> refused = 0;
    {
        Issuer application("");
        AuthorizeClient client;
        for (int i = 0; i < 1100; ++i) {
            client.ask(application.url(), "{}", {}, [&](AuthorizeAnswer answer) { refused += !answer.allow; });
        }
        // Four are asked; those that find no place have their answer.
        EXPECT_GE(refused.load(), 90);
        EXPECT_LE(refused.load(), 100);
    }
}

}  // namespace
}  // namespace starling::server

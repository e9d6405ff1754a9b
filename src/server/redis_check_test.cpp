// What a look at Redis finds, of servers that are well and of servers that are not.

#include "server/redis_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "server/redis_url.h"
#include "server/resp_rig.h"

namespace starling::server {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Words = RespServer::Words;
using Answer = RespServer::Answer;

// Ends a look that cannot succeed; one that can takes milliseconds of it.
constexpr Duration kShort = 400ms;
constexpr Duration kLong = 20s;

RedisCheck look_at(const std::string& url, Duration within, std::shared_ptr<net::TlsContext> tls = nullptr) {
    auto settings = parse_redis_url(url);
    EXPECT_TRUE(settings) << settings.error();
    return check_redis(std::move(*settings), std::move(tls), within);
}
auto finds(bool fatal, const std::string& text) {
    return Contains(AllOf(Field(&engine::Finding::fatal, fatal), Field(&engine::Finding::text, HasSubstr(text))));
}
// Another answer to one command.
RespServer::Hook instead(const Words& command, const std::string& bytes) {
    return [=](const Words& words) -> std::optional<Answer> {
        if (words.size() < command.size() || !std::equal(command.begin(), command.end(), words.begin())) { return std::nullopt; }
        return Answer{bytes};
    };
}

TEST(RedisCheck, ReachesAServerThatIsWellAndHasNothingToSay) {
    const RespServer server;
    const RedisCheck check = look_at("redis://" + server.address(), kLong);
    EXPECT_TRUE(check.reached);
    EXPECT_THAT(check.findings, IsEmpty());
    EXPECT_GT(check.time, 0ms);
    EXPECT_LT(check.time, kLong);
}

TEST(RedisCheck, SaysUserPasswordAndDatabaseOfTheUrl) {
    RespServer server;
    EXPECT_TRUE(look_at("redis://ada:secret@" + server.address() + "/3", kLong).reached);
    EXPECT_THAT(server.asked(), AllOf(Contains(Words{"AUTH", "ada", "secret"}), Contains(Words{"SELECT", "3"})));
}

TEST(RedisCheck, TellsThatNobodyListens) {
    const ReservedPort nobody;
    const RedisCheck check = look_at("redis://" + nobody.address(), kShort);
    EXPECT_FALSE(check.reached);
    EXPECT_GE(check.time, kShort);
    EXPECT_THAT(check.findings, finds(false, nobody.address() + ": Connection refused"));
}

TEST(RedisCheck, TellsThatThePasswordIsWrongAndDoesNotRepeatIt) {
    const RespServer server(instead({"AUTH"}, "-WRONGPASS invalid username-password pair or user is disabled.\r\n"));
    const RedisCheck check = look_at("redis://:not-this-one@" + server.address(), kShort);
    EXPECT_FALSE(check.reached);
    EXPECT_THAT(check.findings, finds(false, "AUTH is refused (WRONGPASS)"));
    EXPECT_THAT(check.findings, Each(Field(&engine::Finding::text, Not(HasSubstr("not-this-one")))));
}

TEST(RedisCheck, TellsThatAPasswordIsNeeded) {
    const RespServer server([](const Words&) { return Answer{"-NOAUTH Authentication required.\r\n"}; });
    const RedisCheck check = look_at("redis://" + server.address(), kShort);
    EXPECT_FALSE(check.reached);
    EXPECT_THAT(check.findings, finds(false, "a password is needed"));
}

TEST(RedisCheck, TellsThatTheServerIsAReplica) {
    const auto bulk = engine::Rig::bulk;
    const RespServer server(instead({"ROLE"}, engine::Rig::list({bulk("slave"), bulk("10.0.0.1"), ":6379\r\n", bulk("connected"), ":1\r\n"})));
    const RedisCheck check = look_at("redis://" + server.address(), kShort);
    EXPECT_FALSE(check.reached);
    EXPECT_THAT(check.findings, finds(false, "is a replica"));
}

TEST(RedisCheck, APolicyThatEvictsIsFatalAlthoughTheServerIsReached) {
    const RespServer server(instead({"INFO", "memory"}, engine::Rig::bulk("maxmemory_policy:allkeys-lru\r\n")));
    const RedisCheck check = look_at("redis://" + server.address(), kLong);
    EXPECT_TRUE(check.reached);
    EXPECT_THAT(check.findings, finds(true, "maxmemory-policy is allkeys-lru"));
}

TEST(RedisCheck, ASmallOutputBufferAndWhatIsNotAllowedAreTold) {
    const auto bulk = engine::Rig::bulk;
    const RespServer small(instead({"CONFIG"}, engine::Rig::list({bulk("client-output-buffer-limit"), bulk("normal 0 0 0 pubsub 1048576 8388608 60")})));
    EXPECT_THAT(look_at("redis://" + small.address(), kLong).findings, finds(false, "client-output-buffer-limit pubsub is small"));
    const RespServer closed([](const Words& words) -> std::optional<Answer> {
        if (words[0] != "CONFIG" && words != Words{"INFO", "memory"}) { return std::nullopt; }
        return Answer{"-NOPERM this user has no permissions\r\n"};
    });
    const RedisCheck check = look_at("redis://" + closed.address(), kLong);
    EXPECT_TRUE(check.reached);
    EXPECT_THAT(check.findings, AllOf(finds(false, "maxmemory-policy could not be checked"), finds(false, "CONFIG GET is not allowed")));
}

TEST(RedisCheck, TheOldestVersionThatIsTakenIs62) {
    const RespServer old({}, "standalone", "6.0.16");
    const RedisCheck check = look_at("redis://" + old.address(), kShort);
    EXPECT_FALSE(check.reached);
    EXPECT_THAT(check.findings, finds(true, "Redis 6.0.16 is too old, 6.2 is needed"));
    const RespServer enough({}, "standalone", "6.2.0");
    EXPECT_TRUE(look_at("redis://" + enough.address(), kLong).reached);
}

TEST(RedisCheck, AServerOfAnotherFormThanTheUrlSaysIsFatal) {
    const RespServer cluster({}, "cluster");
    EXPECT_THAT(look_at("redis://" + cluster.address(), kShort).findings, finds(true, "is in mode cluster"));
    const RespServer alone;
    EXPECT_THAT(look_at("redis+cluster://" + alone.address(), kShort).findings, finds(true, "is in mode standalone"));
}

TEST(RedisCheck, APeerThatGoesAwayInMidReplyIsTriedAgain) {
    int times = 0;                           // Read and written under the server's lock.
    const RespServer server([&](const Words& words) -> std::optional<Answer> {
        if (words != Words{"INFO", "server"} || ++times > 2) { return std::nullopt; }
        return Answer{"$500\r\n# Server\r\nredis_ver", true};
    });
    const RedisCheck check = look_at("redis://" + server.address(), kLong);
    EXPECT_TRUE(check.reached);
    EXPECT_THAT(check.findings, finds(false, server.address()));
}

TEST(RedisCheck, WhatIsNoRedisIsNotReached) {
    const ScriptedServer other([](int peer) {
        char part[4096];
        while (::recv(peer, part, sizeof part, 0) > 0) {
            constexpr std::string_view kAnswer = "HTTP/1.1 400 Bad Request\r\n\r\n";
            (void)::send(peer, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
        }
    });
    const RedisCheck check = look_at("redis://" + other.address(), kShort);
    EXPECT_FALSE(check.reached);
    EXPECT_THAT(check.findings, finds(false, other.address()));
}

TEST(RedisCheck, AServerThatSaysNothingIsNotReached) {
    const RespServer silent([](const Words&) { return Answer{}; });
    EXPECT_FALSE(look_at("redis://" + silent.address(), kShort).reached);
}

TEST(RedisCheck, APlainServerIsNotReachedByTls) {
    const RespServer server;
    auto tls = net::TlsContext::client("");
    ASSERT_TRUE(tls);
    // A server of RESP waits for more of what it takes for a command, or ends: the look is over by its own clock.
    EXPECT_FALSE(look_at("rediss://" + server.address(), kShort, *tls).reached);
}

TEST(RedisCheck, AsksTheSentinelForThePrimary) {
    const RespServer primary;
    const auto bulk = engine::Rig::bulk;
    RespServer sentinel(instead({"SENTINEL"}, engine::Rig::list({bulk("127.0.0.1"), bulk(std::to_string(primary.port()))})), "sentinel");
    EXPECT_TRUE(look_at("redis+sentinel://" + sentinel.address() + "/main", kLong).reached);
    EXPECT_THAT(sentinel.asked(), Contains(Words{"SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"}));
    const RespServer stranger(instead({"SENTINEL"}, "*-1\r\n"), "sentinel");
    EXPECT_FALSE(look_at("redis+sentinel://" + stranger.address() + "/other", kShort).reached);
}

TEST(RedisCheck, AClusterIsReachedWhenEveryPartHasItsPrimary) {
    std::atomic<int> port = 0, last = 16383;   // Known when somebody asks, not before.
    const RespServer server([&](const Words& words) -> std::optional<Answer> {
        if (words[0] != "CLUSTER") { return std::nullopt; }
        const auto number = [](int value) { return ':' + std::to_string(value) + "\r\n"; };
        const auto list = engine::Rig::list;
        const auto bulk = engine::Rig::bulk;
        return Answer{list({list({number(0), number(last), list({bulk("127.0.0.1"), number(port), bulk("id")})})})};
    }, "cluster");
    port = server.port();
    EXPECT_TRUE(look_at("redis+cluster://" + server.address(), kLong).reached);
    last = 8000;                             // Half of the slots are nobody's.
    EXPECT_FALSE(look_at("redis+cluster://" + server.address(), kShort).reached);
}

}  // namespace
}  // namespace starling::server

#include "engine/redis.h"

#include <gmock/gmock.h>

#include "engine/redis_rig.h"

namespace starling::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string text_of(const std::vector<Finding>& findings) {
    std::string text;
    for (const Finding& finding : findings) { text += (finding.fatal ? "fatal: " : "") + finding.text + '\n'; }
    return text;
}

TEST(Redis, IsUpAfterTheHandshake) {
    Rig rig(only_server());
    rig.start();
    const auto ups = rig.take<PartitionUp>();
    ASSERT_THAT(ups, SizeIs(4));
    EXPECT_EQ(ups[0].partition, 0U);
    EXPECT_EQ(ups[0].server, "run-redis:6379");
    EXPECT_THAT(rig.connects, ElementsAre(kOnlyServer, kOnlyServer));
    EXPECT_THAT(rig.take<Finding>(), IsEmpty());
    EXPECT_FALSE(rig.redis.sharded());
}

TEST(Redis, GivesUserPasswordAndDatabase) {
    RedisSettings settings = only_server();
    settings.user = "star";
    settings.password = "secret";
    settings.database = 3;
    Rig rig(settings);
    std::vector<Rig::Words> seen;
    rig.hook = [&](const std::string&, const Rig::Words& words) -> std::optional<std::string> {
        seen.push_back(words);
        return std::nullopt;
    };
    rig.start();
    ASSERT_GE(seen.size(), 3U);
    EXPECT_THAT(seen[0], ElementsAre("AUTH", "star", "secret"));
    EXPECT_THAT(seen, testing::Contains(ElementsAre("SELECT", "3")));
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(4));
}

TEST(Redis, TellsAWrongPasswordWithoutIt) {
    RedisSettings settings = only_server();
    settings.password = "secret";
    Rig rig(settings);
    rig.hook = [](const std::string&, const Rig::Words& words) -> std::optional<std::string> {
        // An old server repeats what it does not understand.
        if (words[0] == "AUTH") { return "-ERR unknown command `AUTH`, with args beginning with: `secret`\r\n"; }
        return "-NOAUTH Authentication required.\r\n";
    };
    rig.start();
    EXPECT_THAT(rig.take<PartitionUp>(), IsEmpty());
    const std::string text = text_of(rig.take<Finding>());
    EXPECT_THAT(text, HasSubstr("AUTH is refused (ERR)"));
    EXPECT_THAT(text, testing::Not(HasSubstr("secret")));
    rig.call(1, 0);
    EXPECT_THAT(rig.answers(), ElementsAre("1:failed"));
    EXPECT_THAT(rig.reasons[0], testing::Not(HasSubstr("secret")));
}

TEST(Redis, FindsWhatIsWrongWithTheServer) {
    struct Case { std::string verb, about, answer, finding; bool up; };
    const std::vector<Case> cases = {
        {"INFO", "server", Rig::bulk("redis_version:6.0.16\r\nredis_mode:standalone\r\nrun_id:r\r\n"), "fatal: redis:6379: Redis 6.0.16 is too old", false},
        {"INFO", "server", Rig::bulk("redis_version:7.0.0\r\nredis_mode:cluster\r\nrun_id:r\r\n"), "fatal: redis:6379: is in mode cluster", false},
        {"INFO", "memory", Rig::bulk("maxmemory_policy:allkeys-lru\r\n"), "fatal: redis:6379: maxmemory-policy is allkeys-lru", true},
        {"INFO", "memory", "-NOPERM no\r\n", "maxmemory-policy could not be checked", true},
        {"CONFIG", "GET", "-NOPERM no\r\n", "CONFIG GET is not allowed", true},
        {"CONFIG", "GET", Rig::list({Rig::bulk("client-output-buffer-limit"), Rig::bulk("normal 0 0 0 pubsub 1024 0 60")}), "pubsub is small", true},
        {"ROLE", "", Rig::list({Rig::bulk("slave"), Rig::bulk("h"), ":1\r\n"}), "is a replica", false},
        {"PING", "", "-LOADING Redis is loading the dataset in memory\r\n", "LOADING", false},
    };
    for (const Case& one_case : cases) {
        Rig rig(only_server());
        rig.hook = [&](const std::string&, const Rig::Words& words) -> std::optional<std::string> {
            if (words[0] != one_case.verb || (words.size() > 1 && words[1] != one_case.about)) { return std::nullopt; }
            return one_case.answer;
        };
        rig.start();
        EXPECT_THAT(text_of(rig.take<Finding>()), HasSubstr(one_case.finding));
        EXPECT_EQ(!rig.take<PartitionUp>().empty(), one_case.up) << one_case.finding;
    }
}

TEST(Redis, PipelinesAndAnswersInOrder) {
    Rig rig(only_server());
    rig.start();
    for (Token token = 1; token <= 3; ++token) { rig.call(token, 1, std::to_string(token)); }
    ASSERT_THAT(rig.peer(kOnlyServer).asked, SizeIs(3));
    // The first carries the text, those behind it need it no more.
    EXPECT_THAT(rig.peer(kOnlyServer).asked[0], ElementsAre("EVAL", "return ARGV[1]", "1", "st:{" + rig.tags[1] + "}:key", "1"));
    EXPECT_THAT(rig.peer(kOnlyServer).asked[1], ElementsAre("EVALSHA", rig.script.sha, "1", "st:{" + rig.tags[1] + "}:key", "2"));
    EXPECT_GT(rig.redis.pending_bytes(), 0U);
    rig.answer(kOnlyServer, ":10\r\n");
    rig.answer(kOnlyServer, "-ERR its own\r\n");
    rig.answer(kOnlyServer, "$2\r\nok\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("1:10", "2:!ERR its own", "3:ok"));
    EXPECT_EQ(rig.redis.pending_bytes(), 0U);
}

TEST(Redis, SendsTheTextOnceWhereTheScriptWasFlushed) {
    Rig rig(only_server());
    rig.start();
    rig.call(1, 0);
    rig.answer(kOnlyServer, "+OK\r\n");
    rig.call(2, 0);
    EXPECT_EQ(rig.answer(kOnlyServer, "-NOSCRIPT No matching script. Please use EVAL.\r\n")[0], "EVALSHA");
    EXPECT_EQ(rig.answer(kOnlyServer, "-NOSCRIPT still\r\n")[0], "EVAL");
    EXPECT_THAT(rig.peer(kOnlyServer).asked, IsEmpty());
    EXPECT_THAT(rig.answers(), ElementsAre("1:OK", "2:!NOSCRIPT still"));
}

TEST(Redis, MapsRefusalsToNotDone) {
    for (const std::string error : {"LOADING x", "BUSY x", "OOM x", "MASTERDOWN x", "MISCONF x", "CLUSTERDOWN x",
                                    "ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -OOM command not allowed"}) {
        Rig rig(only_server());
        rig.start();
        rig.call(1, 0);
        rig.answer(kOnlyServer, '-' + error + "\r\n");
        EXPECT_THAT(rig.answers(), ElementsAre("1:failed")) << error;
        EXPECT_THAT(rig.take<PartitionDown>(), IsEmpty());
    }
}

TEST(Redis, LeavesAPrimaryThatBecameAReplica) {
    Rig rig(only_server());
    rig.start();
    rig.call(1, 0);
    rig.call(2, 1);
    rig.answer(kOnlyServer, "-READONLY You can't write against a read only replica.\r\n");
    EXPECT_THAT(rig.take<PartitionDown>(), SizeIs(4));
    rig.call(3, 0);
    EXPECT_THAT(rig.answers(), ElementsAre("1:failed", "3:failed"));
    rig.take<PartitionUp>();
    const auto before = rig.connects.size();
    // What was in flight is still answered; then the link is made again.
    rig.answer(kOnlyServer, "+OK\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("2:OK"));
    rig.pass(100ms);
    EXPECT_GT(rig.connects.size(), before);
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(4));
}

TEST(Redis, RetriesTryAgainBeforeWhatCameLater) {
    Rig rig(only_server());
    rig.start();
    rig.call(1, 0, "a");
    rig.answer(kOnlyServer, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    rig.call(2, 0, "b");
    rig.call(3, 1, "c");
    ASSERT_THAT(rig.peer(kOnlyServer).asked, SizeIs(1));
    EXPECT_EQ(rig.answer(kOnlyServer, "+c\r\n")[4], "c");
    rig.pass(19ms);
    EXPECT_THAT(rig.peer(kOnlyServer).asked, IsEmpty());
    rig.pass(100ms);
    ASSERT_THAT(rig.peer(kOnlyServer).asked, SizeIs(2));
    EXPECT_EQ(rig.answer(kOnlyServer, "+a\r\n")[4], "a");
    rig.answer(kOnlyServer, "+b\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("3:c", "1:a", "2:b"));
}

TEST(Redis, AnswersHeldBackByOneBeforeThemComeAfterIt) {
    Rig rig(only_server());
    rig.start();
    rig.call(1, 0, "a");
    rig.call(2, 0, "b");
    rig.answer(kOnlyServer, "-TRYAGAIN x\r\n");
    rig.answer(kOnlyServer, "+b\r\n");
    EXPECT_THAT(rig.answers(), IsEmpty());
    rig.pass(100ms);
    rig.answer(kOnlyServer, "+a\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("1:a", "2:b"));
}

TEST(Redis, ALinkWithoutAnswersIsDead) {
    Rig rig(only_server());
    rig.start();
    rig.take<PartitionUp>();
    rig.silent.insert(kOnlyServer);
    rig.call(1, 0);
    rig.pass(2600ms);
    EXPECT_THAT(rig.answers(), ElementsAre("1:unknown"));
    EXPECT_THAT(rig.take<PartitionDown>(), SizeIs(4));
    rig.call(2, 0);
    EXPECT_THAT(rig.answers(), ElementsAre("2:failed"));
    rig.silent.clear();
    rig.pass(3s);
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(4));
    rig.call(3, 0);
    rig.answer(kOnlyServer, "+OK\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("3:OK"));
}

TEST(Redis, AClosedLinkFailsWhatWasWrittenAsUnknown) {
    Rig rig(only_server());
    rig.start();
    rig.call(1, 0);
    rig.call(2, 0);
    rig.refusing.insert(kOnlyServer);
    rig.close(rig.link_to(kOnlyServer));
    EXPECT_THAT(rig.answers(), ElementsAre("1:unknown", "2:unknown"));
    EXPECT_THAT(text_of(rig.take<Finding>()), HasSubstr("reset by peer"));
    EXPECT_EQ(rig.redis.pending_bytes(), 0U);
}

TEST(Redis, CallsBeforeTheFirstConnectionWaitForIt) {
    Rig rig(only_server());
    rig.silent.insert(kOnlyServer);
    rig.start();
    rig.call(1, 0);
    EXPECT_THAT(rig.answers(), IsEmpty());
    rig.pass(3s);
    EXPECT_THAT(rig.answers(), ElementsAre("1:failed"));
}

TEST(Redis, ReconnectsQuicklyDuringTheFirstLeaseAndSlowlyLater) {
    Rig rig(only_server());
    rig.refusing.insert(kOnlyServer);
    rig.start();
    rig.pass(8s);
    const auto early = rig.connects.size();
    EXPECT_GT(early, 8s / 250ms);
    rig.pass(60s);
    const auto late = rig.connects.size() - early;
    EXPECT_GT(late, 60s / 2s);
    EXPECT_LT(late, 80U);
    EXPECT_THAT(rig.take<Finding>(), SizeIs(1));
    rig.refusing.clear();
    rig.pass(2s);
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(4));
}

TEST(Redis, AQueueThatIsFullFailsAtOnce) {
    RedisSettings settings = only_server();
    settings.queue_bytes_max = 3000;
    Rig rig(settings);
    rig.start();
    for (Token token = 1; token <= 4; ++token) { rig.call(token, 0, std::string(1000, 'x')); }
    EXPECT_THAT(rig.answers(), ElementsAre("3:failed", "4:failed"));
    EXPECT_EQ(rig.reasons[0], "queue full");
    rig.answer(kOnlyServer, "+OK\r\n");
    rig.call(5, 0, std::string(1000, 'x'));
    rig.answer(kOnlyServer, "+OK\r\n");
    rig.answer(kOnlyServer, "+OK\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("1:OK", "2:OK", "5:OK"));
}

TEST(Redis, ReadsAnswersInAnyPieces) {
    for (std::size_t piece = 1; piece < 40; ++piece) {
        Rig rig(only_server());
        rig.piece = piece;
        rig.start();
        rig.redis.subscribe(0, SharedBytes("st:{0}:c:a"), rig.now(), rig.actions);
        rig.run();
        EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("st:{0}:c:a"));
        rig.call(1, 0);
        rig.call(2, 1);
        rig.answer(kOnlyServer, "*2\r\n$3\r\nabc\r\n:7\r\n");
        rig.answer(kOnlyServer, "$5\r\nhello\r\n");
        EXPECT_THAT(rig.answers(), ElementsAre("1:", "2:hello"));
    }
}

TEST(Redis, ALinkThatSpeaksSomethingElseIsLeft) {
    Rig rig(only_server());
    rig.start();
    rig.call(1, 0);
    rig.refusing.insert(kOnlyServer);
    rig.give(rig.link_to(kOnlyServer), "HTTP/1.1 400 Bad Request\r\n\r\n");
    rig.run();
    EXPECT_THAT(rig.answers(), ElementsAre("1:unknown"));
    EXPECT_THAT(rig.take<PartitionDown>(), SizeIs(4));
}

TEST(Redis, ARestartedServerIsTold) {
    Rig rig(only_server());
    rig.start();
    rig.take<PartitionUp>();
    rig.runs[kOnlyServer] = "another";
    rig.close(rig.link_to(kOnlyServer));
    rig.pass(300ms);
    const auto ups = rig.take<PartitionUp>();
    ASSERT_THAT(ups, SizeIs(4));
    EXPECT_EQ(ups[3].server, "another");
}

}  // namespace
}  // namespace starling::engine

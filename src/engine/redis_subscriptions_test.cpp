#include <gmock/gmock.h>

#include "engine/redis_rig.h"

namespace starling::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

void subscribe(Rig& rig, std::uint32_t partition, const std::string& channel) {
    rig.redis.subscribe(partition, SharedBytes(channel), rig.now(), rig.actions);
    rig.run();
}

void push(Rig& rig, const std::string& channel, const std::string& payload) {
    rig.give(rig.listener(channel), Rig::list({Rig::bulk("message"), Rig::bulk(channel), Rig::bulk(payload)}));
    rig.run();
}

TEST(RedisSubscriptions, AreConfirmedAndBringWhatIsPublished) {
    Rig rig(only_server());
    rig.start();
    subscribe(rig, 0, "a");
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("a"));
    push(rig, "a", "hello");
    const auto pushed = rig.take<Pushed>();
    ASSERT_THAT(pushed, SizeIs(1));
    EXPECT_EQ(pushed[0].channel, "a");
    EXPECT_EQ(pushed[0].payload, "hello");
    const LinkId link = rig.listener("a");
    rig.redis.unsubscribe("a", rig.now(), rig.actions);
    rig.run();
    EXPECT_FALSE(rig.peers.at(link).channels.contains("a"));
    // What was on its way belongs to nobody.
    rig.give(link, Rig::list({Rig::bulk("message"), Rig::bulk("a"), Rig::bulk("late")}));
    rig.run();
    EXPECT_THAT(rig.take<Pushed>(), IsEmpty());
    EXPECT_THAT(rig.take<Missed>(), IsEmpty());
}

TEST(RedisSubscriptions, BeforeTheStartWaitForTheLink) {
    Rig rig(only_server());
    subscribe(rig, 0, "early");
    rig.start();
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("early"));
}

TEST(RedisSubscriptions, AnOldConfirmationIsNotTheNewOne) {
    Rig rig(only_server());
    rig.start();
    std::vector<Rig::Words> asked;
    rig.hook = [&](const std::string&, const Rig::Words& words) -> std::optional<std::string> {
        if (!words[0].ends_with("SUBSCRIBE")) { return std::nullopt; }
        asked.push_back(words);
        return "";
    };
    subscribe(rig, 0, "a");
    rig.redis.unsubscribe("a", rig.now(), rig.actions);
    subscribe(rig, 0, "a");
    ASSERT_THAT(asked, SizeIs(3));
    const LinkId link = rig.listener("st:probe:n.0");
    rig.give(link, Rig::list({Rig::bulk("subscribe"), Rig::bulk("a"), ":1\r\n"}));
    rig.give(link, Rig::list({Rig::bulk("unsubscribe"), Rig::bulk("a"), ":1\r\n"}));
    rig.run();
    EXPECT_THAT(rig.channels<Subscribed>(), IsEmpty());
    rig.give(link, Rig::list({Rig::bulk("subscribe"), Rig::bulk("a"), ":1\r\n"}));
    rig.run();
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("a"));
}

TEST(RedisSubscriptions, AreMissedAndMadeAgainWhenTheLinkIsLost) {
    Rig rig(only_server());
    rig.start();
    subscribe(rig, 0, "a");
    subscribe(rig, 1, "b");
    rig.take<Subscribed>();
    rig.close(rig.listener("a"));
    EXPECT_THAT(rig.channels<Missed>(), ElementsAre("a", "b"));
    EXPECT_THAT(rig.take<PartitionDown>(), IsEmpty());
    rig.pass(100ms);
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("a", "b"));
}

TEST(RedisSubscriptions, ALargeSetGoesInPieces) {
    Rig rig(only_server());
    rig.start();
    std::vector<std::size_t> sizes;
    std::size_t unanswered = 0;
    rig.hook = [&](const std::string&, const Rig::Words& words) -> std::optional<std::string> {
        if (words[0] == "SUBSCRIBE") { sizes.push_back(words.size() - 1); }
        return std::nullopt;
    };
    for (int i = 0; i < 100'000; ++i) {
        rig.redis.subscribe(static_cast<std::uint32_t>(i % 4), SharedBytes("channel-" + std::to_string(i)), rig.now(), rig.actions);
    }
    for (const Action& action : rig.actions) { unanswered += std::get<Write>(action).bytes.size(); }
    EXPECT_LT(unanswered, 100'000U);
    rig.run();
    EXPECT_THAT(rig.take<Subscribed>(), SizeIs(100'000));
    EXPECT_LE(*std::ranges::max_element(sizes), 500U);
    EXPECT_LT(sizes.size(), 250U);
    sizes.clear();
    rig.close(rig.listener("channel-7"));
    EXPECT_THAT(rig.take<Missed>(), SizeIs(100'000));
    rig.pass(100ms);
    EXPECT_THAT(rig.take<Subscribed>(), SizeIs(100'000));
    EXPECT_LE(sizes.size(), 202U);
}

TEST(RedisSubscriptions, AReceivingPathThatIsDeadIsReplaced) {
    Rig rig(only_server());
    rig.start();
    subscribe(rig, 0, "a");
    rig.take<Subscribed>();
    rig.pass(20s);
    EXPECT_THAT(rig.take<Missed>(), IsEmpty());
    const LinkId before = rig.listener("a");
    rig.deaf.insert(kOnlyServer);
    rig.pass(3s);
    EXPECT_THAT(rig.channels<Missed>(), ElementsAre("a"));
    rig.deaf.clear();
    rig.pass(100ms);
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("a"));
    EXPECT_NE(rig.listener("a"), before);
    EXPECT_FALSE(rig.peers.at(before).open);
    rig.pass(20s);
    EXPECT_THAT(rig.take<Missed>(), IsEmpty());
}

TEST(RedisSubscriptions, APauseOfOursReplacesNothing) {
    Rig rig(only_server());
    rig.start();
    subscribe(rig, 0, "a");
    rig.pass(3s);
    rig.call(1, 0);
    rig.instant += 60s;
    // The deadline comes first, the answer lies in the socket.
    rig.hook = [](const std::string&, const Rig::Words&) { return std::optional<std::string>(""); };
    rig.redis.on_deadline(rig.now(), rig.actions);
    rig.run();
    rig.hook = nullptr;
    rig.answer(kOnlyServer, "+OK\r\n");
    rig.give(rig.link_to(kOnlyServer), ":1\r\n");  // Of the probe behind it.
    EXPECT_THAT(rig.answers(), ElementsAre("1:OK"));
    rig.pass(5s);
    EXPECT_THAT(rig.take<Missed>(), IsEmpty());
    EXPECT_THAT(rig.take<PartitionDown>(), IsEmpty());
}

TEST(RedisSubscriptions, FollowAServerThatHasChangedBehindItsAddress) {
    Rig rig(only_server());
    rig.start();
    subscribe(rig, 0, "a");
    rig.take<Subscribed>();
    const LinkId before = rig.listener("a");
    rig.runs[kOnlyServer] = "another";
    rig.close(rig.link_to(kOnlyServer));
    rig.pass(100ms);
    EXPECT_THAT(rig.channels<Missed>(), ElementsAre("a"));
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("a"));
    EXPECT_FALSE(rig.peers.at(before).open);
}

TEST(RedisSubscriptions, PatternsTellTheRealChannelAndComeBack) {
    Rig rig(only_server());
    rig.redis.subscribe_pattern("ws:pubsub:*", rig.now(), rig.actions);
    rig.start();
    rig.redis.subscribe_pattern("ws:direct:*", rig.now(), rig.actions);
    rig.run();
    const LinkId link = rig.listener("ws:pubsub:*");
    EXPECT_EQ(rig.listener("ws:direct:*"), link);
    rig.give(link, Rig::list({Rig::bulk("pmessage"), Rig::bulk("ws:pubsub:*"), Rig::bulk("ws:pubsub:x"), Rig::bulk("1")}));
    rig.run();
    EXPECT_THAT(rig.channels<Pushed>(), ElementsAre("ws:pubsub:x"));
    rig.close(link);
    rig.pass(100ms);
    EXPECT_NE(rig.listener("ws:pubsub:*"), link);
}

TEST(RedisSubscriptions, ForbiddenOnesAreToldAndTriedAgain) {
    Rig rig(only_server());
    bool forbidden = true;
    rig.hook = [&](const std::string&, const Rig::Words& words) -> std::optional<std::string> {
        if (forbidden && words[0] == "SUBSCRIBE" && words[1] == "a") { return "-NOPERM no channel\r\n"; }
        return std::nullopt;
    };
    rig.start();
    subscribe(rig, 0, "a");
    subscribe(rig, 0, "b");
    rig.pass(5s);
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("b"));
    EXPECT_THAT(rig.take<Finding>(), SizeIs(1));
    forbidden = false;
    rig.pass(3s);
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("a"));
}

TEST(RedisSubscriptions, PublishGoesThroughTheCommands) {
    Rig rig(only_server());
    rig.start();
    subscribe(rig, 0, "a");
    rig.redis.publish(0, "a", "hello", rig.now(), rig.actions);
    rig.run();
    EXPECT_THAT(rig.channels<Pushed>(), ElementsAre("a"));
    EXPECT_THAT(rig.take<Answered>(), IsEmpty());
    EXPECT_EQ(rig.redis.pending_bytes(), 0U);
}

}  // namespace
}  // namespace starling::engine

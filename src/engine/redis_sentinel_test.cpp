// Sentinel: three sentinels in memory, each with its own opinion of who is the primary.

#include <gmock/gmock.h>

#include "engine/redis_rig.h"

namespace starling::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

struct SentinelRig : Rig {
    explicit SentinelRig(std::string password = "")
        : Rig({.form = RedisSettings::Form::sentinel,
               .servers = {{"s1", 26379}, {"s2", 26379}, {"s3", 26379}},
               .primary = "main",
               .password = std::move(password)}) {
        for (const char* name : {"s1:26379", "s2:26379", "s3:26379"}) { names[name] = "db1:6379"; }
        hook = [this](const std::string& at, const Words& words) { return serve_sentinel(at, words); };
    }
    std::optional<std::string> serve_sentinel(const std::string& at, const Words& words) {
        if (words[0] == "ROLE" && replicas.contains(at)) { return list({bulk("slave"), bulk("h"), ":1\r\n"}); }
        if (!names.contains(at)) { return std::nullopt; }
        if (locked && words[0] == "AUTH") {
            locked = false;
            return "+OK\r\n";
        }
        if (locked) { return "-NOAUTH Authentication required.\r\n"; }
        if (words[0] != "SENTINEL") { return std::nullopt; }
        EXPECT_THAT(words, ElementsAre("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"));
        if (names[at].empty()) { return "*-1\r\n"; }
        const auto colon = names[at].find(':');
        return list({bulk(names[at].substr(0, colon)), bulk(names[at].substr(colon + 1))});
    }
    void name(const std::string& primary, std::initializer_list<std::string> who) {
        for (const std::string& one : who) { names[one + ":26379"] = primary; }
    }

    std::map<std::string, std::string> names;
    std::set<std::string> replicas;
    bool locked = false;
};

std::string server_of(const std::vector<PartitionUp>& ups) { return ups.size() == 4 ? ups[0].server : ""; }

TEST(RedisSentinel, ConnectsToThePrimaryThatTheMajorityNames) {
    SentinelRig rig;
    rig.name("old:6379", {"s1"});
    rig.start();
    EXPECT_EQ(server_of(rig.take<PartitionUp>()), "run-db1:6379");
    EXPECT_THAT(rig.connects, testing::Not(testing::Contains("old:6379")));
}

TEST(RedisSentinel, OneThatAnswersIsEnoughIfTheOthersAreGone) {
    SentinelRig rig;
    rig.refusing = {"s1:26379", "s3:26379"};
    rig.start();
    EXPECT_EQ(server_of(rig.take<PartitionUp>()), "run-db1:6379");
}

TEST(RedisSentinel, OneThatHangsUpIsAskedEverMoreSeldomAndToldOnce) {
    SentinelRig rig;
    rig.start();
    rig.hanging_up = {"s1:26379", "s2:26379", "s3:26379"};
    std::vector<LinkId> open;
    for (const auto& [link, peer] : rig.peers) {
        if (peer.open && peer.address[0] == 's') { open.push_back(link); }
    }
    for (const LinkId link : open) {
        if (rig.peers.at(link).open) { rig.close(link); }
    }
    rig.connects.clear();
    rig.take<Finding>();
    rig.pass(5s);
    // Two connections to each of three, four a second each.
    EXPECT_LT(rig.connects.size(), 250U);
    EXPECT_THAT(rig.take<Finding>(), SizeIs(testing::Le(3U)));
    rig.hanging_up.clear();
    rig.name("db2:6379", {"s1", "s2", "s3"});
    rig.pass(3s);
    EXPECT_EQ(rig.take<PartitionUp>().size(), 8U);
}

TEST(RedisSentinel, FollowsASwitchAtOnce) {
    SentinelRig rig;
    rig.start();
    rig.redis.subscribe(0, SharedBytes("a"), rig.now(), rig.actions);
    rig.run();
    rig.take<PartitionUp>();
    rig.take<Subscribed>();
    rig.name("db2:6379", {"s1", "s2"});
    const LinkId events = rig.listener("+switch-master");
    rig.give(events, Rig::list({Rig::bulk("message"), Rig::bulk("+switch-master"), Rig::bulk("other db1 6379 db9 6379")}));
    rig.run();
    EXPECT_THAT(rig.take<PartitionUp>(), IsEmpty());
    rig.give(events, Rig::list({Rig::bulk("message"), Rig::bulk("+switch-master"), Rig::bulk("main db1 6379 db2 6379")}));
    rig.run();
    EXPECT_EQ(server_of(rig.take<PartitionUp>()), "run-db2:6379");
    EXPECT_THAT(rig.channels<Missed>(), ElementsAre("a"));
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre("a"));
    rig.pass(1s);
    for (auto& [link, peer] : rig.peers) { EXPECT_FALSE(peer.open && peer.address == "db1:6379"); }
}

TEST(RedisSentinel, LeavesAPrimaryThatStillAnswersWhenTheMajorityNamesAnother) {
    SentinelRig rig;
    rig.start();
    rig.take<PartitionUp>();
    rig.name("db2:6379", {"s1"});
    rig.pass(5s);
    EXPECT_THAT(rig.take<PartitionUp>(), IsEmpty());
    rig.name("db2:6379", {"s2"});
    rig.pass(1100ms);
    EXPECT_EQ(server_of(rig.take<PartitionUp>()), "run-db2:6379");
    rig.pass(10s);
    EXPECT_THAT(rig.take<PartitionDown>(), SizeIs(testing::Le(4U)));
}

TEST(RedisSentinel, WaitsForThePromotedOneToBePrimary) {
    SentinelRig rig;
    rig.start();
    rig.take<PartitionUp>();
    rig.replicas.insert("db2:6379");
    rig.name("db2:6379", {"s1", "s2", "s3"});
    rig.pass(1500ms);
    EXPECT_THAT(rig.take<PartitionDown>(), SizeIs(4));
    EXPECT_THAT(rig.take<PartitionUp>(), IsEmpty());
    rig.replicas.clear();
    rig.pass(300ms);
    EXPECT_EQ(server_of(rig.take<PartitionUp>()), "run-db2:6379");
}

TEST(RedisSentinel, AReadOnlyPrimaryIsLookedUpAgain) {
    SentinelRig rig;
    rig.start();
    rig.take<PartitionUp>();
    rig.call(1, 0);
    rig.name("db2:6379", {"s1", "s2", "s3"});
    rig.replicas.insert("db1:6379");
    rig.answer("db1:6379", "-READONLY You can't write against a read only replica.\r\n");
    rig.pass(300ms);
    EXPECT_THAT(rig.answers(), ElementsAre("1:failed"));
    EXPECT_EQ(server_of(rig.take<PartitionUp>()), "run-db2:6379");
}

TEST(RedisSentinel, GivesThePasswordOnlyToOneThatAsks) {
    SentinelRig rig("secret");
    std::vector<std::string> asked;
    const auto serve = rig.hook;
    rig.hook = [&](const std::string& at, const Rig::Words& words) {
        if (words[0] == "AUTH" && at[0] == 's') { asked.push_back(words[1]); }
        return serve(at, words);
    };
    rig.start();
    EXPECT_THAT(asked, IsEmpty());
    EXPECT_EQ(server_of(rig.take<PartitionUp>()), "run-db1:6379");

    SentinelRig locked("secret");
    locked.locked = true;
    locked.start();
    EXPECT_EQ(server_of(locked.take<PartitionUp>()), "run-db1:6379");
}

TEST(RedisSentinel, AnUnknownNameIsTold) {
    SentinelRig rig;
    rig.name("", {"s1", "s2", "s3"});
    rig.start();
    rig.pass(3s);
    const auto findings = rig.take<Finding>();
    ASSERT_THAT(findings, SizeIs(3));
    EXPECT_THAT(findings[0].text, HasSubstr("knows no primary main"));
    rig.call(1, 0);
    rig.pass(3s);
    EXPECT_THAT(rig.answers(), ElementsAre("1:failed"));
}

}  // namespace
}  // namespace starling::engine

// Redis Cluster: two servers in memory that hold half of the slots each, until a test moves one.

#include <gmock/gmock.h>

#include "engine/redis_rig.h"

namespace starling::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr const char* kA = "10.0.0.1:7000";
constexpr const char* kB = "10.0.0.2:7000";

struct ClusterRig : Rig {
    // Partitions 0 and 1 lie on A, 2 and 3 on B.
    explicit ClusterRig(std::vector<RedisSettings::Server> seeds = {{"10.0.0.1", 7000}, {"10.0.0.2", 7000}})
        : Rig({.form = RedisSettings::Form::cluster, .servers = std::move(seeds)}), owners{kA, kA, kB, kB} {
        mode = "cluster";
        hook = [this](const std::string& at, const Words& words) { return serve_cluster(at, words); };
    }
    std::optional<std::string> serve_cluster(const std::string& at, const Words& words) {
        if (extra) {
            if (auto text = extra(at, words)) { return text; }
        }
        if (words[0] == "CLUSTER") {
            ++maps;
            std::vector<std::string> ranges;
            for (std::size_t i = 0; i < owners.size(); ++i) {
                const auto colon = owners[i].find(':');
                const std::string node = list({bulk(owners[i].substr(0, colon)), ':' + owners[i].substr(colon + 1) + "\r\n", bulk("id")});
                ranges.push_back(list({':' + std::to_string(i * 4096) + "\r\n", ':' + std::to_string(i * 4096 + 4095) + "\r\n", node}));
            }
            return list(ranges);
        }
        if (words[0] == "SSUBSCRIBE" || words[0] == "SPUBLISH") {
            const auto slot = slot_of(words[1]);
            for (std::size_t i = 2; words[0] == "SSUBSCRIBE" && i < words.size(); ++i) { EXPECT_EQ(slot_of(words[i]), slot); }
            if (owners[slot / 4096] != at) { return moved(slot / 4096); }
        }
        return std::nullopt;
    }
    std::string moved(std::uint32_t partition) {
        return "-MOVED " + std::to_string(slot_of(tags[partition])) + ' ' + owners[partition] + "\r\n";
    }
    std::string channel(std::uint32_t partition, const std::string& name = "a") { return "st:{" + tags[partition] + "}:c:" + name; }
    void subscribe_to(std::uint32_t partition, const std::string& name = "a") {
        redis.subscribe(partition, SharedBytes(channel(partition, name)), now(), actions);
        run();
    }

    std::vector<std::string> owners;
    Hook extra;
    int maps = 0;
};

TEST(RedisCluster, FindsTheServerOfEachPartition) {
    ClusterRig rig;
    rig.start();
    const auto ups = rig.take<PartitionUp>();
    ASSERT_THAT(ups, SizeIs(4));
    for (const PartitionUp& up : ups) { EXPECT_EQ(up.server, "run-" + rig.owners[up.partition]); }
    EXPECT_TRUE(rig.redis.sharded());
    rig.call(1, 0);
    rig.call(2, 3);
    rig.answer(kB, "+b\r\n");
    rig.answer(kA, "+a\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("2:b", "1:a"));
}

TEST(RedisCluster, OneSeedIsEnoughAndADeadOneDelaysLittle) {
    ClusterRig rig({{"10.0.0.9", 7000}, {"10.0.0.2", 7000}});
    rig.silent.insert("10.0.0.9:7000");
    rig.start();
    rig.pass(600ms);
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(4));
}

TEST(RedisCluster, IsToldWhenNoServerHasASlot) {
    ClusterRig rig;
    rig.owners.pop_back();
    rig.start();
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(3));
    rig.call(1, 3);
    EXPECT_THAT(rig.answers(), ElementsAre("1:failed"));
}

TEST(RedisCluster, FollowsMovedAndKeepsTheOrder) {
    ClusterRig rig;
    rig.start();
    rig.take<PartitionUp>();
    rig.call(1, 0, "a");
    rig.call(2, 0, "b");
    rig.owners[0] = kB;
    rig.answer(kA, rig.moved(0));
    // Made meanwhile: it waits, for b is still at the old server.
    rig.call(3, 0, "c");
    ASSERT_THAT(rig.peer(kB).asked, SizeIs(1));
    rig.answer(kA, rig.moved(0));
    ASSERT_THAT(rig.peer(kB).asked, SizeIs(3));
    for (const std::string text : {"a", "b", "c"}) { EXPECT_EQ(rig.answer(kB, '+' + text + "\r\n").back(), text); }
    EXPECT_THAT(rig.answers(), ElementsAre("1:a", "2:b", "3:c"));
    const auto ups = rig.take<PartitionUp>();
    ASSERT_THAT(ups, SizeIs(1));
    EXPECT_EQ(ups[0].server, std::string("run-") + kB);
    rig.pass(200ms);
    EXPECT_GE(rig.maps, 2);
}

TEST(RedisCluster, FollowsMovedToAServerItHasNotSeen) {
    ClusterRig rig;
    rig.start();
    rig.take<PartitionUp>();
    rig.call(1, 0, "a");
    rig.owners[0] = "10.0.0.3:7000";
    rig.answer(kA, rig.moved(0));
    rig.answer("10.0.0.3:7000", "+a\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("1:a"));
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(1));
}

TEST(RedisCluster, AsksOnceWhereAskSays) {
    ClusterRig rig;
    rig.start();
    rig.take<PartitionUp>();
    rig.call(1, 0, "a");
    std::vector<Rig::Words> seen;
    rig.extra = [&](const std::string& at, const Rig::Words& words) -> std::optional<std::string> {
        if (at == kB) { seen.push_back(words); }
        return std::nullopt;
    };
    rig.answer(kA, "-ASK 0 " + std::string(kB) + "\r\n");
    rig.call(2, 0, "b");
    EXPECT_THAT(rig.peer(kA).asked, IsEmpty());
    ASSERT_THAT(seen, SizeIs(2));
    EXPECT_THAT(seen[0], ElementsAre("ASKING"));
    EXPECT_EQ(seen[1].back(), "a");
    rig.answer(kB, "+a\r\n");
    // The slot has not moved yet.
    rig.answer(kA, "+b\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("1:a", "2:b"));
    EXPECT_THAT(rig.take<PartitionUp>(), IsEmpty());
}

TEST(RedisCluster, EndlessRedirectsEnd) {
    ClusterRig rig;
    rig.start();
    rig.call(1, 0);
    for (int i = 0; i < 6; ++i) {
        const char* at = i % 2 == 0 ? kA : kB;
        rig.answer(at, "-MOVED 0 " + std::string(i % 2 == 0 ? kB : kA) + "\r\n");
    }
    EXPECT_THAT(rig.answers(), ElementsAre("1:failed"));
}

TEST(RedisCluster, SubscribesOnEachPrimaryOneSlotACommand) {
    ClusterRig rig;
    rig.start();
    for (std::uint32_t i = 0; i < 4; ++i) {
        for (const char* name : {"a", "b"}) { rig.subscribe_to(i, name); }
    }
    EXPECT_THAT(rig.take<Subscribed>(), SizeIs(8));
    EXPECT_EQ(rig.peers.at(rig.listener(rig.channel(1))).address, kA);
    EXPECT_EQ(rig.peers.at(rig.listener(rig.channel(2))).address, kB);
    EXPECT_NE(rig.listener("st:probe:n.0:{" + rig.tags[0] + "}"), rig.listener("st:probe:n.0:{" + rig.tags[2] + "}"));
    rig.redis.publish(3, rig.channel(3), "hello", rig.now(), rig.actions);
    rig.run();
    EXPECT_THAT(rig.channels<Pushed>(), ElementsAre(rig.channel(3)));
    rig.pass(30s);
    EXPECT_THAT(rig.take<Missed>(), IsEmpty());
}

TEST(RedisCluster, AnUnsolicitedUnsubscribeMeansSubscribeAgainAtTheNewOwner) {
    ClusterRig rig;
    rig.start();
    rig.subscribe_to(0);
    rig.subscribe_to(0, "b");
    rig.subscribe_to(1);
    rig.take<Subscribed>();
    const LinkId old_link = rig.listener(rig.channel(0));
    rig.owners[0] = kB;
    rig.peers.at(old_link).channels.clear();
    for (const std::string& gone : {rig.channel(0), rig.channel(0, "b"), "st:probe:n.0:{" + rig.tags[0] + "}"}) {
        rig.give(old_link, Rig::list({Rig::bulk("sunsubscribe"), Rig::bulk(gone), ":0\r\n"}));
    }
    rig.run();
    rig.pass(300ms);
    EXPECT_THAT(rig.channels<Missed>(), UnorderedElementsAre(rig.channel(0), rig.channel(0, "b")));
    EXPECT_THAT(rig.channels<Subscribed>(), UnorderedElementsAre(rig.channel(0), rig.channel(0, "b")));
    EXPECT_EQ(rig.peers.at(rig.listener(rig.channel(0))).address, kB);
    // The probe of A now lies in what A still has.
    EXPECT_EQ(rig.peers.at(rig.listener("st:probe:n.0:{" + rig.tags[1] + "}")).address, kA);
    rig.pass(30s);
    EXPECT_THAT(rig.take<Missed>(), IsEmpty());
}

TEST(RedisCluster, AnIdleShardLearnsOfAMoveByItsProbe) {
    ClusterRig rig;
    rig.start();
    rig.take<PartitionUp>();
    rig.owners[0] = kB;
    rig.pass(1500ms);
    const auto ups = rig.take<PartitionUp>();
    ASSERT_THAT(ups, SizeIs(1));
    EXPECT_EQ(ups[0].partition, 0U);
}

TEST(RedisCluster, AFailoverIsFoundThroughAnotherServer) {
    ClusterRig rig;
    rig.start();
    rig.subscribe_to(0);
    rig.take<PartitionUp>();
    rig.take<Subscribed>();
    rig.refusing.insert(kA);
    rig.close(rig.listener(rig.channel(0)));
    rig.close(rig.link_to(kA));
    EXPECT_THAT(rig.take<PartitionDown>(), SizeIs(2));
    EXPECT_THAT(rig.channels<Missed>(), ElementsAre(rig.channel(0)));
    rig.call(1, 0);
    EXPECT_THAT(rig.answers(), ElementsAre("1:failed"));
    rig.pass(3s);
    EXPECT_THAT(rig.take<PartitionUp>(), IsEmpty());
    rig.owners[0] = rig.owners[1] = "10.0.0.3:7000";
    rig.pass(1500ms);
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(2));
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre(rig.channel(0)));
    rig.call(2, 0);
    rig.answer("10.0.0.3:7000", "+a\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("2:a"));
}

TEST(RedisCluster, BeforeSevenSubscriptionsAreNotSharded) {
    ClusterRig rig;
    rig.version = "6.2.6";
    rig.start();
    rig.subscribe_to(2);
    EXPECT_FALSE(rig.redis.sharded());
    EXPECT_THAT(rig.channels<Subscribed>(), ElementsAre(rig.channel(2)));
    rig.redis.publish(2, rig.channel(2), "hello", rig.now(), rig.actions);
    rig.run();
    EXPECT_THAT(rig.channels<Pushed>(), ElementsAre(rig.channel(2)));
}

TEST(RedisCluster, OnlyServersOfOwnPartitionsAreUsed) {
    ClusterRig rig;
    Redis only({.form = RedisSettings::Form::cluster, .servers = {{"10.0.0.1", 7000}}}, rig.tags, {2}, "p", 1);
    rig.redis = std::move(only);
    rig.start();
    rig.pass(5s);
    EXPECT_THAT(rig.take<PartitionUp>(), SizeIs(1));
    for (auto& [link, peer] : rig.peers) { EXPECT_EQ(peer.open, peer.address == kB) << peer.address; }
    // Until somebody calls another one.
    rig.call(1, 0);
    rig.answer(kA, "+a\r\n");
    EXPECT_THAT(rig.answers(), ElementsAre("1:a"));
}

}  // namespace
}  // namespace starling::engine

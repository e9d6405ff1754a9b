#include "domain/presence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace starling::domain {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Now at(Duration since_start) { return {Instant{} + 1h + since_start, 1000 + since_start / 1ms}; }
const PresenceLimits kLimits{.linger = 5s, .list_limit = 4, .count_interval = 250ms};
SessionRef tab(std::uint32_t slot) { return {0, {slot, 1}}; }

struct World {
    Presence presence;
    void enter(std::string user, std::uint32_t slot, Now now, std::optional<std::string> data = {}) {
        presence.on_enter(user, tab(slot), std::move(data), {}, now, kLimits);
    }
    void exit(std::string user, std::uint32_t slot, Departure how, Now now) {
        presence.on_exit(user, tab(slot), how, now, kLimits);
    }
    codec::native::PresenceDiff tell(Now now) { return presence.tell(now.instant, kLimits).groups.at(0).diff; }
};

TEST(Presence, ASecondTabIsNoJoinAndItsEndNoLeave) {
    World world;
    world.enter("ada", 1, at(0s));
    EXPECT_THAT(world.tell(at(0s)).joins, SizeIs(1));
    world.enter("ada", 2, at(1s));
    world.exit("ada", 2, Departure::clean, at(2s));
    EXPECT_FALSE(world.presence.due(at(1h).instant));
    world.exit("ada", 1, Departure::clean, at(3s));
    EXPECT_THAT(world.tell(at(3s)).leaves, ElementsAre("ada"));
}

TEST(Presence, WhoIsBackWithinTheLingerNeverLeft) {
    World world;
    world.enter("ada", 1, at(0s));
    world.tell(at(0s));
    world.exit("ada", 1, Departure::broken, at(1s));
    EXPECT_EQ(world.presence.next_deadline(), at(6s).instant);
    world.enter("ada", 2, at(5999ms));
    world.presence.on_deadline(at(6s), kLimits);
    EXPECT_FALSE(world.presence.due(at(6s).instant));
    EXPECT_EQ(world.presence.members().at(0).connected_at, 1000);
    world.exit("ada", 2, Departure::broken, at(7s));
    world.presence.on_deadline(at(12s), kLimits);
    EXPECT_THAT(world.tell(at(12s)).leaves, ElementsAre("ada"));
    EXPECT_EQ(world.presence.timeouts(), 1U);
}

TEST(Presence, ALeaveAndAJoinInOneWindowCancelOut) {
    World world;
    world.enter("ada", 1, at(0s));
    world.tell(at(0s));
    world.exit("ada", 1, Departure::clean, at(1ms));
    EXPECT_FALSE(world.presence.due(at(1ms).instant));
    world.enter("ada", 2, at(2ms));
    const auto diff = world.tell(at(20ms));
    EXPECT_THAT(diff.joins, IsEmpty());
    EXPECT_THAT(diff.leaves, IsEmpty());
    EXPECT_THAT(diff.updates, IsEmpty());
}

TEST(Presence, WhoSubscribesInsideAWindowIsNotToldItsSnapshotAgain) {
    World world;
    world.enter("ada", 1, at(0s));
    world.tell(at(0s));
    world.enter("bob", 2, at(1ms));
    const std::uint64_t point = world.presence.snapshot_point();
    world.enter("cyd", 3, at(2ms));
    const auto told = world.presence.tell(at(20ms).instant, kLimits);
    ASSERT_THAT(told.groups, SizeIs(2));
    EXPECT_THAT(told.groups[0].diff.joins, SizeIs(2));
    EXPECT_EQ(told.groups[1].since, point);
    ASSERT_THAT(told.groups[1].diff.joins, SizeIs(1));
    EXPECT_EQ(told.groups[1].diff.joins[0].user_id, "cyd");
}

TEST(Presence, EqualDataIsNoUpdateAndTrueLeavesIt) {
    World world;
    world.enter("ada", 1, at(0s), R"({"a":1})");
    world.tell(at(0s));
    EXPECT_TRUE(world.presence.on_update("ada", R"({"a":1})", at(1s), kLimits));
    world.enter("ada", 2, at(1s));
    EXPECT_FALSE(world.presence.due(at(1s).instant));
    EXPECT_TRUE(world.presence.on_update("ada", "2", at(1s), kLimits));
    EXPECT_THAT(world.tell(at(1s)).updates, SizeIs(1));
    EXPECT_FALSE(world.presence.on_update("bob", "2", at(1s), kLimits));
}

TEST(Presence, CountsAboveTheListLimitAndListsAgainBelowFourFifths) {
    World world;
    for (std::uint32_t i = 0; i < 5; ++i) { world.enter(std::string(1, static_cast<char>('a' + i)), i, at(0s)); }
    auto told = world.presence.tell(at(0s).instant, kLimits);
    EXPECT_TRUE(told.count_to_lists);
    EXPECT_THAT(told.groups, IsEmpty());
    EXPECT_FALSE(world.presence.listed());
    world.exit("a", 0, Departure::clean, at(1s));
    told = world.presence.tell(at(1s).instant, kLimits);
    EXPECT_TRUE(told.count_to_lists);
    EXPECT_FALSE(told.list);
    world.exit("b", 1, Departure::clean, at(2s));
    told = world.presence.tell(at(2s).instant, kLimits);
    EXPECT_TRUE(told.list);
    EXPECT_EQ(told.count, 3U);
}

}  // namespace
}  // namespace starling::domain

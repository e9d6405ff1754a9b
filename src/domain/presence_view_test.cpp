#include "domain/presence_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time_rig.h"

namespace starling::domain {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const PresenceLimits kLimits{.list_limit = 4, .count_interval = 250ms};

struct World {
    PresenceView view;
    void join(std::string user, Instant now, std::optional<std::string> data = {}) {
        MembersChanged changed;
        changed.joins.push_back({std::move(user), 1000, std::move(data)});
        view.on_changed(changed, now);
    }
    void update(std::string user, std::string data, Instant now) {
        MembersChanged changed;
        changed.updates.push_back({std::move(user), 0, std::move(data)});
        view.on_changed(changed, now);
    }
    void leave(std::string user, Instant now) {
        MembersChanged changed;
        changed.leaves.push_back(std::move(user));
        view.on_changed(changed, now);
    }
    codec::native::PresenceDiff tell(Instant now) { return view.tell(now, kLimits).groups.at(0).diff; }
};

TEST(PresenceView, ARepeatedSnapshotChangesNothing) {
    World world;
    world.join("ada", at(0s));
    EXPECT_THAT(world.tell(at(0s)).joins, SizeIs(1));
    world.join("ada", at(1s));
    world.leave("bob", at(1s));
    EXPECT_FALSE(world.view.due(at(1h)));
    world.leave("ada", at(3s));
    EXPECT_THAT(world.tell(at(3s)).leaves, ElementsAre("ada"));
}

TEST(PresenceView, ALeaveAndAJoinInOneWindowCancelOut) {
    World world;
    world.join("ada", at(0s));
    world.tell(at(0s));
    world.leave("ada", at(1ms));
    EXPECT_FALSE(world.view.due(at(1ms)));
    world.join("ada", at(2ms));
    const auto diff = world.tell(at(20ms));
    EXPECT_THAT(diff.joins, IsEmpty());
    EXPECT_THAT(diff.leaves, IsEmpty());
    EXPECT_THAT(diff.updates, IsEmpty());
}

TEST(PresenceView, WhoSubscribesInsideAWindowIsNotToldItsSnapshotAgain) {
    World world;
    world.join("ada", at(0s));
    world.tell(at(0s));
    world.join("bob", at(1ms));
    const std::uint64_t point = world.view.snapshot_point();
    world.join("cyd", at(2ms));
    const auto told = world.view.tell(at(20ms), kLimits);
    ASSERT_THAT(told.groups, SizeIs(2));
    EXPECT_THAT(told.groups[0].diff.joins, SizeIs(2));
    EXPECT_EQ(told.groups[1].since, point);
    ASSERT_THAT(told.groups[1].diff.joins, SizeIs(1));
    EXPECT_EQ(told.groups[1].diff.joins[0].user_id, "cyd");
}

TEST(PresenceView, EqualDataIsNoUpdate) {
    World world;
    world.join("ada", at(0s), R"({"a":1})");
    world.tell(at(0s));
    world.update("ada", R"({"a":1})", at(1s));
    EXPECT_FALSE(world.view.due(at(1s)));
    world.update("ada", "2", at(1s));
    EXPECT_THAT(world.tell(at(1s)).updates, SizeIs(1));
    EXPECT_EQ(world.view.members().at(0).connected_at, 1000);
}

TEST(PresenceView, CountsAboveTheListLimitAndListsAgainBelowFourFifths) {
    World world;
    for (char user = 'a'; user < 'f'; ++user) { world.join(std::string(1, user), at(0s)); }
    auto told = world.view.tell(at(0s), kLimits);
    EXPECT_TRUE(told.count_to_lists);
    EXPECT_THAT(told.groups, IsEmpty());
    EXPECT_FALSE(world.view.listed());
    world.leave("a", at(1s));
    told = world.view.tell(at(1s), kLimits);
    EXPECT_TRUE(told.count_to_lists);
    EXPECT_FALSE(told.list);
    world.leave("b", at(2s));
    told = world.view.tell(at(2s), kLimits);
    EXPECT_TRUE(told.list);
    EXPECT_EQ(told.count, 3U);
}

TEST(PresenceView, ACountGivenInsideAWindowIsSetRight) {
    World world;
    for (char user = 'a'; user < 'f'; ++user) { world.join(std::string(1, user), at(0s)); }
    world.view.tell(at(0s), kLimits);
    world.join("z", at(1s));
    EXPECT_EQ(world.view.give_count(), 6U);
    world.leave("z", at(1s));
    EXPECT_TRUE(world.view.tell(at(2s), kLimits).count_to_lists);   // Five, as told before, but not to the newcomer.
}

TEST(PresenceView, WhatNobodyHearsIsSkippedAndStillCounts) {
    World world;
    for (char user = 'a'; user < 'f'; ++user) { world.join(std::string(1, user), at(0s)); }
    world.view.skip(at(0s), kLimits);
    EXPECT_FALSE(world.view.listed());
    EXPECT_EQ(world.view.count(), 5U);
    EXPECT_FALSE(world.view.due(at(1h)));
}

}  // namespace
}  // namespace starling::domain

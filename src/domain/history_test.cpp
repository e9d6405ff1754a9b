#include "domain/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time_rig.h"

namespace starling::domain {
namespace {

constexpr HistoryLimits kThree{.size = 3, .ttl = 10s};

History filled(int count) {
    History history("e1");
    for (int i = 1; i <= count; ++i) {
        history.append({.id = "m" + std::to_string(i), .data = std::to_string(i)}, kThree, at(0s));
    }
    return history;
}

std::vector<std::string> ids(const std::vector<Message>& messages) {
    std::vector<std::string> out;
    for (const auto& message : messages) { out.push_back(message.id); }
    return out;
}

TEST(History, RecoversExactlyWhatFollowsAPosition) {
    const History history = filled(5);
    EXPECT_THAT(ids(*history.recover({"e1", 3, "m3"}, 10, 9999)), testing::ElementsAre("m4", "m5"));
    EXPECT_TRUE(history.recover({"e1", 5, "m5"}, 10, 9999)->empty());
}

TEST(History, RecoversFromThePositionJustBeforeTheOldestKept) {
    const History history = filled(5);
    EXPECT_EQ(history.recover({"e1", 2, "m2"}, 10, 9999)->size(), 3U);
    EXPECT_EQ(history.recover({"e1", 2, "other"}, 10, 9999).error(), RecoverFailure::fork);
    EXPECT_EQ(history.recover({"e1", 1, "m1"}, 10, 9999).error(), RecoverFailure::gap);
}

TEST(History, SaysWhyItCannotPromise) {
    const History history = filled(2);
    EXPECT_EQ(history.recover({"e0", 1, "m1"}, 10, 9999).error(), RecoverFailure::epoch);
    EXPECT_EQ(history.recover({"e1", 3, "m3"}, 10, 9999).error(), RecoverFailure::fork);
    EXPECT_EQ(history.recover({"e1", 2, "x"}, 10, 9999).error(), RecoverFailure::fork);
    EXPECT_EQ(history.recover({"e1", 0, ""}, 1, 9999).error(), RecoverFailure::limit);
    EXPECT_EQ(history.recover({"e1", 0, ""}, 10, 100).error(), RecoverFailure::limit);
    EXPECT_EQ(history.recover({"e1", 0, ""}, 10, 9999)->size(), 2U);
}

TEST(History, GoesOnCountingAfterItsMessagesExpired) {
    History history = filled(2);
    history.on_deadline(at(9s));
    EXPECT_FALSE(history.empty());
    history.on_deadline(at(10s));
    EXPECT_TRUE(history.empty());
    EXPECT_EQ(history.top(), (Position{"e1", 2, "m2"}));
    EXPECT_TRUE(history.recover({"e1", 2, "m2"}, 10, 9999).has_value());
    EXPECT_EQ(history.recover({"e1", 1, "m1"}, 10, 9999).error(), RecoverFailure::gap);
    EXPECT_EQ(history.append({.id = "m3"}, kThree, at(11s)).offset, 3U);
    EXPECT_EQ(history.recover({"e1", 2, "m2"}, 10, 9999)->size(), 1U);
}

TEST(History, PagesBothWays) {
    const History history = filled(5);
    EXPECT_THAT(ids(*history.page({.limit = 2})), testing::ElementsAre("m3", "m4"));
    EXPECT_THAT(ids(*history.page({.limit = 2, .reverse = true})), testing::ElementsAre("m5", "m4"));
    EXPECT_THAT(ids(*history.page({.since = Position{"e1", 5, "m5"}, .reverse = true})),
                testing::ElementsAre("m4", "m3"));
    EXPECT_THAT(ids(*history.page({.since = Position{"e1", 4, "m4"}})), testing::ElementsAre("m5"));
    EXPECT_EQ(history.page({.since = Position{"e1", 1, "m1"}}).error(), RecoverFailure::gap);
    EXPECT_TRUE(history.page({.since = Position{"e1", 1, "m1"}, .reverse = true})->empty());
}

TEST(History, BeginsANewEpochAtOne) {
    History history = filled(5);
    history.restart("e2");
    EXPECT_EQ(history.top(), (Position{"e2", 0, ""}));
    EXPECT_EQ(history.append({.id = "n"}, kThree, at(0s)).offset, 1U);
}

}  // namespace
}  // namespace starling::domain

#include "domain/ended_sessions.h"

#include <gtest/gtest.h>

namespace starling::domain {
namespace {

TEST(EndedSessions, AreFoundUntilTheirTimeIsOver) {
    EndedSessions ended;
    EXPECT_EQ(ended.next_deadline(), std::nullopt);
    EXPECT_EQ(ended.find({0, 0}), nullptr);
    for (std::uint32_t i = 0; i < 1000; ++i) {
        // One slot again and again, and many slots once.
        const SessionId id = i % 2 == 0 ? SessionId{7, i} : SessionId{i, 1};
        ended.add({.id = id, .forgotten_at = Instant{} + i * 1ms, .app = i, .user_id = "u" + std::to_string(i)});
    }
    EXPECT_EQ(ended.next_deadline(), Instant{});
    EXPECT_EQ(ended.find({7, 500})->user_id, "u500");
    EXPECT_EQ(ended.find({501, 1})->app, 501U);
    EXPECT_EQ(ended.find({501, 2}), nullptr);
    EXPECT_EQ(ended.find({7, 501}), nullptr);

    ended.on_deadline(Instant{} + 500ms);
    EXPECT_EQ(ended.find({7, 500}), nullptr);
    EXPECT_EQ(ended.find({501, 1})->user_id, "u501");
    EXPECT_EQ(ended.next_deadline(), Instant{} + 501ms);
    ended.on_deadline(Instant{} + 1s);
    EXPECT_EQ(ended.find({7, 998}), nullptr);
    EXPECT_EQ(ended.next_deadline(), std::nullopt);
    ended.add({.id = {3, 3}, .forgotten_at = Instant{} + 2s, .user_id = "again"});
    EXPECT_EQ(ended.find({3, 3})->user_id, "again");
}

}  // namespace
}  // namespace starling::domain

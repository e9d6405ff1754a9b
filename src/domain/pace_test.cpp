// A client that asks faster than it is answered is read no further.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domain/home_rig.h"

namespace starling::domain {
namespace {

using testing::SizeIs;

class Pace : public testing::Test {
 protected:
    void read() { world.say(ada, R"({"type":"history.get","id":5,"channel":"doc:1"})"); }
    void subscribe(int channel) {
        world.say(ada, R"({"type":"subscribe","id":6,"channel":"doc:)" + std::to_string(channel) + "\"}");
    }
    void answer(const Read& call) {
        ReadAnswer out{.call = call.call, .result = ReadResult{}};
        out.result->top = kTop;
        world.tell(std::move(out));
    }

    HomeWorld world;
    HomeWorld::Client& ada = world.open("ada");
};

TEST_F(Pace, ReadsThatAreNotAnsweredHoldTheClientUntilHalfOfThemAre) {
    for (int i = 0; i < 7; ++i) { read(); }
    EXPECT_FALSE(ada.held);
    read();
    EXPECT_TRUE(ada.held);
    // One after the other, as they are of one channel.
    for (int i = 0; i < 4; ++i) {
        const auto calls = world.asked<Read>();
        ASSERT_THAT(calls, SizeIs(1));
        EXPECT_TRUE(ada.held);
        answer(calls[0]);
    }
    EXPECT_FALSE(ada.held);
    EXPECT_THAT(world.heard(ada), SizeIs(4));
}

TEST_F(Pace, SubscribesThatAreNotAnsweredHoldTheClient) {
    for (int i = 0; i < 8; ++i) { subscribe(i); }
    EXPECT_TRUE(ada.held);
    for (int i = 0; i < 4; ++i) {
        EXPECT_TRUE(ada.held);
        world.tell(Listening{{0, "doc:" + std::to_string(i)}, kTop, false});
    }
    EXPECT_FALSE(ada.held);
    EXPECT_THAT(world.heard(ada), SizeIs(4));
}

TEST_F(Pace, ASubscribeThatFailsIsAnsweredToo) {
    for (int i = 0; i < 8; ++i) {
        world.say(ada, R"({"type":"subscribe","id":6,"channel":"doc:)" + std::to_string(i) +
                           R"(","recover":{"epoch":"e","offset":1,"id":"a"}})");
        world.tell(Listening{{0, "doc:" + std::to_string(i)}, kTop, false});
    }
    EXPECT_TRUE(ada.held);
    const auto calls = world.asked<Read>();
    ASSERT_THAT(calls, SizeIs(8));
    for (const Read& call : calls) {
        world.tell(ReadAnswer{call.call, std::unexpected(ReadAnswer::Refused{Error{ErrorCode::unavailable, ""}, {}, 0, 1})});
    }
    EXPECT_FALSE(ada.held);
}

TEST_F(Pace, WhatIsAnsweredAtOnceHoldsNobody) {
    for (int i = 0; i < 100; ++i) { world.say(ada, R"({"type":"ping","id":7})"); }
    EXPECT_FALSE(ada.held);
}

TEST_F(Pace, WhoEndsWhileHeldLeavesNothingToTheNext) {
    for (int i = 0; i < 8; ++i) { read(); }
    world.cut(ada);
    auto& bob = world.open("bob");
    EXPECT_FALSE(bob.held);
    for (const Read& call : world.asked<Read>()) { answer(call); }
    world.say(bob, R"({"type":"history.get","id":5,"channel":"doc:2"})");
    EXPECT_FALSE(bob.held);
}

}  // namespace
}  // namespace starling::domain

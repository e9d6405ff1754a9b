// How sessions end that may not be any more.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domain/home_rig.h"

namespace starling::domain {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Connect, WhoseAppIsRemovedIsForbiddenAndLeavesAtOnce) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, R"({"type":"subscribe","channel":"doc:1","presence":true})");
    world.listening();
    world.entered("ada");
    world.heard(ada);
    world.asked<Exit>();
    auto settings = home_settings();
    settings->apps[0].removed = true;
    world.reload(settings);
    EXPECT_THAT(world.heard(ada), ElementsAre(AllOf(HasSubstr(R"("code":"forbidden")"), HasSubstr("app: is no longer served"))));
    EXPECT_EQ(ada.closed, 4003);
    const auto exits = world.asked<Exit>();
    ASSERT_EQ(exits.size(), 1U);
    EXPECT_EQ(exits[0].how, Departure::clean);
}

TEST(Connect, WhoseAppStaysStays) {
    HomeWorld world;
    auto& ada = world.open("ada");
    auto settings = home_settings();
    settings->apps.emplace_back().id = "other";
    settings->apps[1].removed = true;
    world.reload(settings);
    EXPECT_FALSE(ada.closed);
}

}  // namespace
}  // namespace starling::domain

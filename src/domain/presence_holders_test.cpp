#include "domain/presence_holders.h"

#include <gtest/gtest.h>

namespace starling::domain {
namespace {

SessionRef tab(std::uint32_t slot) { return {0, {slot, 1}}; }

TEST(PresenceHolders, OnlyTheFirstAndTheLastSessionCount) {
    PresenceHolders holders;
    EXPECT_TRUE(holders.add("ada", tab(1)));
    EXPECT_FALSE(holders.add("ada", tab(2)));
    EXPECT_FALSE(holders.remove("ada", tab(1)));
    EXPECT_FALSE(holders.remove("ada", tab(1))) << "a session is gone once";
    EXPECT_TRUE(holders.remove("ada", tab(2)));
    EXPECT_FALSE(holders.remove("ada", tab(2)));
    EXPECT_TRUE(holders.empty());
}

TEST(PresenceHolders, AConfirmationHoldsUntilTheLastOneIsGone) {
    PresenceHolders holders;
    holders.on_entered("ada");
    EXPECT_FALSE(holders.entered("ada")) << "nobody holds her";
    holders.add("ada", tab(1));
    EXPECT_FALSE(holders.entered("ada"));
    holders.on_entered("ada");
    holders.add("ada", tab(2));
    EXPECT_TRUE(holders.entered("ada"));
    holders.remove("ada", tab(1));
    holders.remove("ada", tab(2));
    holders.add("ada", tab(3));
    EXPECT_FALSE(holders.entered("ada"));
}

TEST(PresenceHolders, ListsWhoHoldsWhom) {
    PresenceHolders holders;
    holders.add("ada", tab(1));
    holders.add("bob", tab(2));
    EXPECT_EQ(holders.sessions_of("ada"), std::vector{tab(1)});
    EXPECT_TRUE(holders.sessions_of("cyd").empty());
    EXPECT_EQ(holders.all().size(), 2U);
}

}  // namespace
}  // namespace starling::domain

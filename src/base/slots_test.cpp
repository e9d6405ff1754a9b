#include "base/slots.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace starling {
namespace {

TEST(Slots, StayWhereTheyAreAndAreGivenAgain) {
    Slots<int> slots;
    std::vector<int*> places;
    for (std::uint32_t i = 0; i < 100; ++i) {
        ASSERT_EQ(slots.take(), i);
        slots[i] = static_cast<int>(i);
        places.push_back(&slots[i]);
    }
    for (std::uint32_t i = 0; i < 100; ++i) { EXPECT_EQ(places[i], &slots[i]); }
    slots.give_back(70);
    slots.give_back(7);
    EXPECT_EQ(slots.take(), 7U);
    EXPECT_EQ(slots[7], 7);                  // As it was left.
    EXPECT_EQ(slots.take(), 70U);
    EXPECT_EQ(slots.take(), 100U);
    EXPECT_EQ(slots.size(), 101U);
}

TEST(Slots, AreWalkedInTheirOrder) {
    Slots<int> slots;
    EXPECT_TRUE(slots.begin() == slots.end());
    for (int i = 0; i < 40; ++i) { slots[slots.take()] = i; }
    std::vector<int> seen;
    for (const int one : std::as_const(slots)) { seen.push_back(one); }
    ASSERT_EQ(seen.size(), 40U);
    for (int i = 0; i < 40; ++i) { EXPECT_EQ(seen[static_cast<std::size_t>(i)], i); }
}

}  // namespace
}  // namespace starling

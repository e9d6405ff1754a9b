#include <gtest/gtest.h>

#include "base/apart.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/random.h"

namespace starling {
namespace {

TEST(SharedBytes, JoinsTwoPartsAndCountsItsHandles) {
    SharedBytes first("ab", "cd");
    SharedBytes second = first;
    EXPECT_EQ(second.view(), "abcd");
    EXPECT_EQ(first.identity(), second.identity());
    first = SharedBytes();
    EXPECT_FALSE(first);
    EXPECT_EQ(second.view(), "abcd");
}

TEST(Apart, IsAsItWasMadeUntilItIsNeeded) {
    struct Thing { int count = 7; };
    Apart<Thing> apart;
    EXPECT_FALSE(apart);
    EXPECT_EQ(apart.peek().count, 7);
    EXPECT_FALSE(apart);                     // Looking keeps nothing.
    apart.need().count = 8;
    EXPECT_TRUE(apart);
    EXPECT_EQ(apart.peek().count, 8);
    EXPECT_EQ(&apart.need(), &*apart);
    Apart<Thing> moved = std::move(apart);
    EXPECT_EQ(moved->count, 8);
    moved.reset();
    EXPECT_EQ(moved.peek().count, 7);
    moved.set({9});
    EXPECT_EQ(moved->count, 9);
}

TEST(Rng, RepeatsARunFromItsSeed) {
    Rng a(7);
    Rng b(7);
    Rng c(8);
    EXPECT_EQ(a.word(12), b.word(12));
    EXPECT_NE(a.next(), c.next());
}

TEST(StringMap, FindsByViewWithoutAString) {
    StringMap<int> map;
    map["doc:42"] = 1;
    EXPECT_EQ(map.count(std::string_view("doc:42")), 1U);
}

}  // namespace
}  // namespace starling

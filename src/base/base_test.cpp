#include <gtest/gtest.h>

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

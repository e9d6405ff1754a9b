#include "intervals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace starling::sim {
namespace {

Interval span(int from, int to) { return {Instant(Duration(1s) * from), Instant(Duration(1s) * to)}; }
Instant at(int second) { return Instant(Duration(1s) * second); }

std::vector<std::pair<int, int>> seconds(const Intervals& all) {
    std::vector<std::pair<int, int>> out;
    for (const auto& each : all) { out.emplace_back(each.from.time_since_epoch() / 1s, each.to.time_since_epoch() / 1s); }
    return out;
}

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(Intervals, AreUnitedWhereTheyTouch) {
    EXPECT_THAT(seconds(united({span(5, 7), span(1, 2), span(2, 3), span(6, 9), span(4, 4)})), ElementsAre(Pair(1, 3), Pair(5, 9)));
}

TEST(Intervals, AreWhatIsLeftWithoutOthers) {
    EXPECT_THAT(seconds(without(span(2, 10), {span(0, 3), span(5, 6), span(9, 12)})), ElementsAre(Pair(3, 5), Pair(6, 9)));
    EXPECT_THAT(seconds(without(span(2, 4), {span(0, 9)})), IsEmpty());
    EXPECT_THAT(seconds(without(span(2, 4), {})), ElementsAre(Pair(2, 4)));
}

TEST(Intervals, OverlapForAsLongAsBothLast) { EXPECT_EQ(overlap(span(2, 8), {span(0, 3), span(5, 6), span(7, 9)}), 3s); }

TEST(Intervals, TellTheEarliestMomentInsideOrOutside) {
    const Intervals all{span(2, 4), span(6, 8)};
    EXPECT_EQ(earliest(all, true, at(3), at(9)), at(3));
    EXPECT_EQ(earliest(all, true, at(4), at(9)), at(6));
    EXPECT_EQ(earliest(all, true, at(4), at(5)), std::nullopt);
    EXPECT_EQ(earliest(all, true, at(8), at(9)), std::nullopt);
    EXPECT_EQ(earliest(all, false, at(3), at(9)), at(4));
    EXPECT_EQ(earliest(all, false, at(5), at(9)), at(5));
    EXPECT_EQ(earliest(all, false, at(6), at(7)), std::nullopt);
}

}  // namespace
}  // namespace starling::sim

#include "base/slot_index.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/few.h"
#include "base/random.h"

namespace starling {
namespace {

// Against a map, with hashes that collide often.
TEST(SlotIndex, DoesWhatAMapDoes) {
    Rng rng(7);
    SlotIndex index;
    std::map<std::uint64_t, std::uint32_t> known;
    std::vector<std::uint64_t> keys;         // By slot.
    const auto hash = [](std::uint64_t key) { return key % 97; };
    const auto find = [&](std::uint64_t key) {
        return index.find(hash(key), [&](std::uint32_t slot) { return keys[slot] == key; });
    };
    for (int step = 0; step < 20000; ++step) {
        const std::uint64_t key = rng.below(400);
        const auto found = find(key);
        const auto it = known.find(key);
        ASSERT_EQ(found.has_value(), it != known.end());
        if (!found) {
            keys.push_back(key);
            const auto slot = static_cast<std::uint32_t>(keys.size() - 1);
            index.insert(hash(key), slot);
            known[key] = slot;
        } else if (rng.below(2) == 0) {
            ASSERT_EQ(*found, it->second);
            index.erase(hash(key), *found);
            known.erase(it);
        } else {
            keys.push_back(key);
            const auto slot = static_cast<std::uint32_t>(keys.size() - 1);
            index.replace(hash(key), *found, slot);
            it->second = slot;
        }
        ASSERT_EQ(index.size(), known.size());
    }
    for (const auto& [key, slot] : known) { EXPECT_EQ(find(key), slot); }
}

TEST(Few, HoldsOneInPlaceAndManyElsewhere) {
    Few<int> few;
    EXPECT_TRUE(few.empty());
    for (int i = 0; i < 5; ++i) { few.push_back(i); }
    few.push_back(few[0]);
    EXPECT_EQ(std::vector<int>(few.begin(), few.end()), (std::vector<int>{0, 1, 2, 3, 4, 0}));
    few.erase(few.begin() + 1);
    Few<int> copy = few;
    Few<int> moved = std::move(few);
    EXPECT_EQ(moved.size(), 5U);
    moved.erase_if([](int value) { return value == 0; });
    EXPECT_EQ(std::vector<int>(moved.begin(), moved.end()), (std::vector<int>{2, 3, 4}));
    EXPECT_EQ(copy.back(), 0);
    while (!copy.empty()) { copy.pop_back(); }
    copy.push_back(9);
    EXPECT_EQ(copy[0], 9);
    moved = copy;
    EXPECT_EQ(std::vector<int>(moved.begin(), moved.end()), std::vector<int>{9});
}

TEST(Few, KeepsAllOfThemHoweverManyComeAndGo) {
    Few<int> few;
    for (int i = 0; i < 100; ++i) {
        few.push_back(i);
        ASSERT_EQ(few.size(), static_cast<std::size_t>(i) + 1);
        for (int k = 0; k <= i; ++k) { ASSERT_EQ(few[static_cast<std::size_t>(k)], k); }
    }
    Few<int> copy = few;
    for (int i = 99; i >= 0; --i) {
        ASSERT_EQ(few.back(), i);
        few.pop_back();
    }
    EXPECT_TRUE(few.empty());
    few.push_back(7);
    EXPECT_EQ(few[0], 7);
    EXPECT_EQ(copy.size(), 100U);
    EXPECT_EQ(copy[99], 99);
}

}  // namespace
}  // namespace starling

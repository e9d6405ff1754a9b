#include "base/sorted.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/short_text.h"

namespace starling {
namespace {

struct Row {
    ShortText name;
    int value = 0;
    std::string_view key() const { return name.view(); }
};

using Known = std::map<std::string, int, std::less<>>;

void same(const Sorted<Row>& rows, const Known& known) {
    ASSERT_EQ(rows.size(), known.size());
    ASSERT_EQ(rows.empty(), known.empty());
    auto it = known.begin();
    for (const Row& row : rows) {
        ASSERT_EQ(row.key(), it->first);
        ASSERT_EQ(row.value, it->second);
        ++it;
    }
}

// Against a map, from a few rows to many blocks and back.
TEST(Sorted, DoesWhatAMapDoes) {
    Rng rng(7);
    Sorted<Row> rows;
    Known known;
    for (int step = 0; step < 60000; ++step) {
        const std::uint64_t range = step % 20000 < 10000 ? 2000 : 20;
        const std::string key = "user-" + std::to_string(rng.below(2000) % range);
        const bool growing = step % 20000 < 6000;
        if (rng.below(3) < (growing ? 2u : 1u)) {
            Row row{ShortText(key), step};
            const auto [place, added] = rows.add(std::move(row));
            ASSERT_EQ(place->key(), key);
            ASSERT_EQ(added, known.emplace(key, step).second);
        } else {
            ASSERT_EQ(rows.erase(key), known.erase(key) > 0);
        }
        const Row* found = rows.find(key);
        ASSERT_EQ(found != nullptr, known.contains(key));
        const auto next = rows.after(key);
        const auto end = std::as_const(rows).end();
        const auto expected = known.upper_bound(key);
        ASSERT_EQ(next == end, expected == known.end());
        if (expected != known.end()) { ASSERT_EQ(next->key(), expected->first); }
        if (step % 500 == 0) { same(rows, known); }
        if (step % 5000 == 0) {
            rows.erase_if([](const Row& row) { return row.value % 3 == 0; });
            std::erase_if(known, [](const auto& entry) { return entry.second % 3 == 0; });
            same(rows, known);
        }
        if (step % 7000 == 0) {              // Whole blocks of them.
            rows.erase_if([](const Row& row) { return row.key().starts_with("user-1"); });
            std::erase_if(known, [](const auto& entry) { return entry.first.starts_with("user-1"); });
            same(rows, known);
        }
    }
    Sorted<Row> moved = std::move(rows);
    same(moved, known);
    rows = std::move(moved);
    same(rows, known);
    rows.clear();
    EXPECT_TRUE(rows.empty());
    EXPECT_EQ(rows.find("user-1"), nullptr);
    EXPECT_TRUE(rows.after("") == std::as_const(rows).end());
}

TEST(Sorted, OfOneBlockIsGoneHoweverItEnds) {
    const auto of_one = [] {
        Sorted<Row> rows;
        rows.add({ShortText("one"), 1});
        return rows;
    };
    Sorted<Row> erased = of_one(), cleared = of_one(), filtered = of_one();
    { const Sorted<Row> forgotten = of_one(); }
    EXPECT_TRUE(erased.erase("one"));
    EXPECT_TRUE(erased.empty());
    EXPECT_FALSE(erased.erase("one"));
    cleared.clear();
    EXPECT_TRUE(cleared.empty());
    filtered.erase_if([](const Row&) { return true; });
    EXPECT_TRUE(filtered.empty());
    for (Sorted<Row>* rows : {&erased, &cleared, &filtered}) {
        rows->add({ShortText("two"), 2});
        EXPECT_EQ(rows->find("two")->value, 2);
        EXPECT_EQ(rows->size(), 1U);
    }
}

TEST(ShortText, HoldsAnyTextHoweverLong) {
    for (const std::size_t size : {0U, 1U, 14U, 15U, 16U, 17U, 300U}) {
        const std::string text(size, 'x');
        ShortText one(text);
        EXPECT_EQ(one.view(), text);
        EXPECT_EQ(one.empty(), text.empty());
        ShortText copy = one;
        EXPECT_EQ(copy, one);
        ShortText moved = std::move(copy);
        EXPECT_EQ(moved, text);
        copy = ShortText("other");
        EXPECT_EQ(copy, "other");
        moved = moved;
        EXPECT_EQ(moved, text);
    }
    EXPECT_EQ(ShortText(std::string_view("a\0b", 3)).view().size(), 3U);
}

}  // namespace
}  // namespace starling

#include "domain/conflation.h"

#include <gtest/gtest.h>

#include "base/time_rig.h"
#include "domain/history.h"

namespace starling::domain {
namespace {

constexpr std::size_t kBytes = 1 << 20;

Conflation::Item item(std::string key, std::string data) {
    return {.message = {.data = std::move(data), .conflate_key = std::move(key)}, .except = {}};
}

TEST(Conflation, SendsTheFirstAtOnceAndTheLatestAtTheEndOfTheWindow) {
    Conflation conflation;
    std::vector<Conflation::Item> out;
    conflation.on_publish(item("a", "1"), 100ms, kBytes, at(0s), out);
    conflation.on_publish(item("a", "2"), 100ms, kBytes, at(10ms), out);
    conflation.on_publish(item("a", "3"), 100ms, kBytes, at(20ms), out);
    conflation.on_publish(item("b", "9"), 100ms, kBytes, at(20ms), out);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].message.data, "1");
    EXPECT_EQ(out[1].message.data, "9");
    out.clear();
    EXPECT_EQ(conflation.next_deadline(), at(100ms));
    conflation.on_deadline(100ms, at(100ms), out);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].message.data, "3");
    EXPECT_FALSE(conflation.next_deadline());
    EXPECT_EQ(conflation.latest().size(), 2U);
}

TEST(Conflation, KeepsNoMoreForANewcomerThanARecoveryMayHave) {
    Conflation conflation;
    std::vector<Conflation::Item> out;
    const std::size_t each = answer_bytes(item("a", std::string(1000, 'x')).message);
    for (const char* key : {"a", "b", "c", "a"}) {
        conflation.on_publish(item(key, std::string(1000, 'x')), 100ms, 3 * each, at(0s), out);
    }
    EXPECT_EQ(conflation.latest().size(), 3U);
    out.clear();
    // One byte more than there is room: `b`, written longest ago, goes; `a` was written anew and its latest still waits.
    conflation.on_publish(item("c", std::string(1001, 'y')), 100ms, 3 * each, at(1ms), out);
    EXPECT_TRUE(out.empty());
    const auto kept = conflation.latest();
    ASSERT_EQ(kept.size(), 2U);
    EXPECT_EQ(kept[0].conflate_key, "a");
    EXPECT_EQ(kept[1].data.front(), 'y');
    // Then `a` goes, and what waited for the end of its window is sent before it is forgotten.
    conflation.on_publish(item("d", std::string(2000, 'z')), 100ms, 3 * each, at(2ms), out);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].message.conflate_key, "a");
    EXPECT_EQ(out[1].message.conflate_key, "d");
    // A message that is larger than all of the room is kept alone, as a page of history would give it.
    conflation.on_publish(item("e", std::string(9000, 'e')), 100ms, 3 * each, at(3ms), out);
    ASSERT_EQ(conflation.latest().size(), 1U);
    EXPECT_EQ(conflation.latest()[0].conflate_key, "e");
}

TEST(Conflation, LetsTheOldestKeyGoAndSendsWhatItStillHeld) {
    Conflation conflation;
    std::vector<Conflation::Item> out;
    conflation.on_publish(item("first", "1"), 100ms, kBytes, at(0s), out);
    conflation.on_publish(item("first", "2"), 100ms, kBytes, at(1ms), out);
    for (std::size_t i = 1; i < Conflation::kKeysMax; ++i) {
        conflation.on_publish(item(std::to_string(i), "x"), 100ms, kBytes, at(2ms), out);
    }
    out.clear();
    conflation.on_publish(item("new", "y"), 100ms, kBytes, at(3ms), out);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].message.data, "2");
    EXPECT_EQ(conflation.latest().size(), Conflation::kKeysMax);
}

}  // namespace
}  // namespace starling::domain

#include "domain/conflation.h"

#include <gtest/gtest.h>

namespace starling::domain {
namespace {

Instant at(Duration since_start) { return Instant{} + 1h + since_start; }
Conflation::Item item(std::string key, std::string data) {
    return {.message = {.data = std::move(data), .conflate_key = std::move(key)}, .except = {}};
}

TEST(Conflation, SendsTheFirstAtOnceAndTheLatestAtTheEndOfTheWindow) {
    Conflation conflation;
    std::vector<Conflation::Item> out;
    conflation.on_publish(item("a", "1"), 100ms, at(0s), out);
    conflation.on_publish(item("a", "2"), 100ms, at(10ms), out);
    conflation.on_publish(item("a", "3"), 100ms, at(20ms), out);
    conflation.on_publish(item("b", "9"), 100ms, at(20ms), out);
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

TEST(Conflation, LetsTheOldestKeyGoAndSendsWhatItStillHeld) {
    Conflation conflation;
    std::vector<Conflation::Item> out;
    conflation.on_publish(item("first", "1"), 100ms, at(0s), out);
    conflation.on_publish(item("first", "2"), 100ms, at(1ms), out);
    for (std::size_t i = 1; i < Conflation::kKeysMax; ++i) {
        conflation.on_publish(item(std::to_string(i), "x"), 100ms, at(2ms), out);
    }
    out.clear();
    conflation.on_publish(item("new", "y"), 100ms, at(3ms), out);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].message.data, "2");
    EXPECT_EQ(conflation.latest().size(), Conflation::kKeysMax);
}

}  // namespace
}  // namespace starling::domain

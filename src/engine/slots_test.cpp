#include <gtest/gtest.h>

#include "engine/redis.h"
#include "engine/script.h"

namespace starling::engine {
namespace {

TEST(Slots, AreThoseOfTheSpecification) {
    EXPECT_EQ(slot_of("123456789"), 0x31C3);
    EXPECT_EQ(slot_of("foo"), 12182);
    EXPECT_EQ(slot_of(""), 0);
}

TEST(Slots, ComeFromTheFirstBracesOnly) {
    EXPECT_EQ(slot_of("st:{foo}:bar"), slot_of("foo"));
    EXPECT_EQ(slot_of("{foo}{bar}"), slot_of("foo"));
    EXPECT_EQ(slot_of("a{{bar}}b"), slot_of("{bar"));
    EXPECT_EQ(slot_of("foo{}{bar}"), slot_of(std::string("foo{}{bar}")));
    EXPECT_NE(slot_of("foo{}{bar}"), slot_of("bar"));
    EXPECT_NE(slot_of("a{foo"), slot_of("foo"));
}

TEST(Slots, TagsSpreadEvenly) {
    for (const std::uint32_t count : {1U, 3U, 32U, 100U, 1024U}) {
        const auto tags = make_tags(count);
        ASSERT_EQ(tags.size(), count);
        for (std::uint32_t i = 0; i < count; ++i) { EXPECT_EQ(slot_of(tags[i]) * count / 16384, i); }
    }
}

TEST(Slots, TagsStayWhatTheyWere) {
    EXPECT_EQ(make_tags(32)[0], "0-63");
}

TEST(Script, IsKnownByTheSha1OfItsText) {
    const Script script = make_script("one", "return 1");
    EXPECT_EQ(script.sha, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    EXPECT_EQ(script.name, "one");
}

}  // namespace
}  // namespace starling::engine

#include "domain/typing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time_rig.h"

namespace starling::domain {
namespace {

using testing::ElementsAre;
const SessionRef kTab{0, {1, 1}};
const SessionRef kOtherTab{0, {2, 1}};

TEST(Typing, TellsTheStartOnceAndEndsWhenTheUserGoesSilent) {
    Typing typing;
    std::vector<TypingChange> out;
    typing.on_start("ada", kTab, 5s, at(0s), out);
    typing.on_start("ada", kTab, 5s, at(3s), out);
    EXPECT_THAT(out, ElementsAre(TypingChange{"ada", true}));
    out.clear();
    EXPECT_EQ(typing.next_deadline(), at(8s));
    typing.on_deadline(at(7999ms), out);
    EXPECT_TRUE(out.empty());
    typing.on_deadline(at(8s), out);
    EXPECT_THAT(out, ElementsAre(TypingChange{"ada", false}));
}

TEST(Typing, EndsWithTheConnectionThatTypedLastAndNotWithAnother) {
    Typing typing;
    std::vector<TypingChange> out;
    typing.on_start("ada", kTab, 5s, at(0s), out);
    out.clear();
    typing.on_gone("ada", kOtherTab, out);
    EXPECT_TRUE(out.empty());
    typing.on_gone("ada", kTab, out);
    EXPECT_THAT(out, ElementsAre(TypingChange{"ada", false}));
    typing.on_stop("ada", out);
    EXPECT_EQ(out.size(), 1U);
}

TEST(Typing, LeavesOutOneself) {
    Typing typing;
    std::vector<TypingChange> out;
    typing.on_start("bob", {}, 5s, at(0s), out);
    typing.on_start("ada", kTab, 5s, at(0s), out);
    EXPECT_THAT(typing.users_except("ada"), ElementsAre("bob"));
}

TEST(Typing, OtherNodesHearAtTheStartAndEachThreeSeconds) {
    Typing typing;
    std::vector<TypingChange> out;
    const Instant start = Instant{} + 1h;
    EXPECT_TRUE(typing.on_start("ada", {}, 5s, start, out));
    EXPECT_FALSE(typing.on_start("ada", {}, 5s, start + 2s, out));
    EXPECT_TRUE(typing.on_start("ada", {}, 5s, start + 3s, out));
    typing.on_heard("ada", 5s, start + 4s, out);
    EXPECT_TRUE(typing.on_start("ada", {}, 5s, start + 5s, out)) << "the other node's word is not ours";
    EXPECT_EQ(out.size(), 1U);
    typing.on_deadline(start + 10s, out);
    EXPECT_TRUE(typing.empty());
}

}  // namespace
}  // namespace starling::domain

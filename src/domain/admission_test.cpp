// One node that has a neighbour, whose every answer the test gives.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domain/home_rig.h"

namespace starling::domain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::shared_ptr<Settings> limited(std::uint32_t limit) {
    auto out = home_settings();
    out->connections_per_user = limit;
    return out;
}

class Admission : public testing::Test {
 protected:
    explicit Admission(std::uint32_t limit = 2) : world(limited(limit)) {}
    void neighbour() { world.tell(Peers{{{"node", "a", false}, {"other", "b", false}}}); }
    // What was asked of the neighbour since the last look; nothing if it was not one question.
    std::optional<control::Question> question() {
        const auto told = world.asked<Tell>();
        if (told.size() != 1 || !told[0].node.empty()) { return {}; }
        const auto decoded = control::decode(told[0].payload);
        if (!decoded || !std::holds_alternative<control::Question>(*decoded)) { return {}; }
        return std::get<control::Question>(*decoded);
    }
    void answer(std::uint64_t id, const std::vector<std::string>& connections) {
        control::Answer out{.id = id};
        for (const auto& connection : connections) { out.connections.push_back({connection, "other", 0, {}}); }
        world.tell(Heard{"other", control::encode(out)});
    }
    // The neighbour asks for the sake of its own connection; what it is told.
    std::vector<std::string> ask(const std::string& connection, const std::string& user = "ada") {
        world.tell(Heard{"other", control::encode(control::Question{5, "default", control::Connections{user, connection}})});
        std::vector<std::string> ids;
        for (const auto& told : world.asked<Tell>()) {
            const auto decoded = control::decode(told.payload);
            if (!decoded || !std::holds_alternative<control::Answer>(*decoded)) { continue; }
            for (const auto& each : std::get<control::Answer>(*decoded).connections) { ids.push_back(each.connection_id); }
        }
        return ids;
    }
    bool is_open(HomeWorld::Client& client) {
        world.say(client, R"({"type":"ping","id":7})");
        return !world.heard(client).empty() && !client.closed;
    }

    HomeWorld world;
};

TEST_F(Admission, AloneNobodyIsAsked) {
    auto& one = world.open("ada");
    auto& two = world.open("ada");
    EXPECT_TRUE(is_open(one) && is_open(two));
    EXPECT_EQ(world.open("ada").closed, 4006);
    EXPECT_THAT(world.asked<Tell>(), IsEmpty());
}

TEST_F(Admission, WithoutALimitNobodyIsAsked) {
    HomeWorld unlimited;
    unlimited.tell(Peers{{{"node", "a", false}, {"other", "b", false}}});
    unlimited.open("ada");
    EXPECT_THAT(unlimited.asked<Tell>(), IsEmpty());
}

TEST_F(Admission, WhatIsElsewhereCounts) {
    neighbour();
    auto& one = world.open("ada");
    auto asked = question();
    ASSERT_TRUE(asked);
    EXPECT_EQ(std::get<control::Connections>(asked->ask).user_id, "ada");
    answer(asked->id, {"other-0-1-1"});
    EXPECT_TRUE(is_open(one));
    auto& two = world.open("ada");
    asked = question();
    ASSERT_TRUE(asked);
    EXPECT_FALSE(two.closed);
    answer(asked->id, {"other-0-1-1"});
    EXPECT_EQ(two.closed, 4006);
    EXPECT_TRUE(is_open(one));
}

TEST_F(Admission, WhoIsFullHereIsNotAskedAbout) {
    neighbour();
    for (int i = 0; i < 2; ++i) {
        world.open("ada");
        answer(question()->id, {});
    }
    EXPECT_EQ(world.open("ada").closed, 4006);
    EXPECT_THAT(world.asked<Tell>(), IsEmpty());
}

TEST_F(Admission, WhoDoesNotAnswerKeepsNobodyOut) {
    neighbour();
    auto& one = world.open("ada");
    EXPECT_THAT(world.heard(one), IsEmpty());
    world.pass(1s);
    EXPECT_THAT(world.heard(one), ElementsAre(HasSubstr("connected")));
    EXPECT_TRUE(is_open(one));
    auto& two = world.open("ada");
    world.tell(Peers{{{"node", "a", false}}});           // Its lease is over.
    EXPECT_TRUE(is_open(two));
}

TEST_F(Admission, WhileTheEngineIsOutOfReachNobodyIsAsked) {
    neighbour();
    for (std::uint32_t p = 0; p < 32; ++p) { world.tell(Reach{p, false}); }
    EXPECT_TRUE(is_open(world.open("ada")));
    EXPECT_THAT(world.asked<Tell>(), IsEmpty());
}

TEST_F(Admission, AnAnswerNamesWhoIsHereAndNoOther) {
    neighbour();
    auto& one = world.open("ada");
    answer(question()->id, {});
    EXPECT_THAT(ask("other-0-1-1"), ElementsAre("node-0-0-1"));
    EXPECT_THAT(ask("other-0-1-1", "bob"), IsEmpty());
    world.cut(one);
    EXPECT_THAT(ask("other-0-1-1"), IsEmpty());
}

// Two want the last place at once: the lower id has it, whoever's question comes first.
TEST_F(Admission, OfTwoAtOnceTheLowerComesFirst) {
    neighbour();
    world.open("ada");
    answer(question()->id, {});
    auto& late = world.open("ada");                      // node-0-1-1
    const auto asked = question();
    ASSERT_TRUE(asked);
    EXPECT_THAT(ask("aaa-0-1-1"), ElementsAre("node-0-0-1"));
    answer(asked->id, {});                               // It was on its way before the other had come.
    EXPECT_EQ(late.closed, 4006);

    auto& early = world.open("ada");                     // node-0-1-2
    const auto again = question();
    ASSERT_TRUE(again);
    EXPECT_THAT(ask("other-0-1-1"), ElementsAre("node-0-0-1", "node-0-1-2"));
    answer(again->id, {});
    EXPECT_TRUE(is_open(early));
}

class AdmissionOfThree : public Admission {
 protected:
    AdmissionOfThree() : Admission(3) {}
};

TEST_F(AdmissionOfThree, WhoAsksAndIsNamedCountsOnce) {
    neighbour();
    world.open("ada");
    answer(question()->id, {});
    auto& second = world.open("ada");
    const auto asked = question();
    ASSERT_TRUE(asked);
    ask("aaa-0-1-1");
    answer(asked->id, {"aaa-0-1-1"});
    EXPECT_TRUE(is_open(second));
}

class AdmissionOfOne : public Admission {
 protected:
    AdmissionOfOne() : Admission(1) {}
    // The fields of `connect` that resume this connection.
    static std::string resuming(const HomeWorld::Client& client) {
        const std::string& connected = client.frames.at(0);
        const std::size_t begin = connected.find("\"resume\":\"");
        return R"("user":"ada",)" + connected.substr(begin, connected.find('"', begin + 10) + 1 - begin);
    }
};

TEST_F(AdmissionOfOne, AConnectionThatIsResumedMakesWayOnce) {
    const std::string again = resuming(world.connect(R"("user":"ada")"));
    EXPECT_EQ(world.connect(R"("user":"ada")").closed, 4006);
    EXPECT_TRUE(is_open(world.connect(again)));
    EXPECT_EQ(world.connect(again).closed, 4006);
}

}  // namespace
}  // namespace starling::domain

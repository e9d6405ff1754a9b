// Whole shards with the memory engine on virtual time: the tests drive one, two and four of them through wire
// text alone, and everything must hold alike.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/shard_rig.h"

namespace starling::engine {
namespace {

using namespace domain;

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kJoin = R"({"type":"subscribe","id":1,"channel":"doc:1","presence":true})";

class Shards : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(OneTwoFour, Shards, testing::Values(1U, 2U, 4U));

TEST_P(Shards, ASecondTabIsNotToldAndACutConnectionLingers) {
    World world(GetParam());
    auto& bob = world.open(0, "bob");
    world.say(bob, kJoin);
    EXPECT_THAT(bob.frames.back(), HasSubstr(R"("count":1)"));
    world.forget_all();
    auto& ada = world.open(1, "ada");
    world.say(ada, kJoin);
    world.pass(20ms);
    EXPECT_THAT(world.heard(bob), ElementsAre(HasSubstr("presence.join")));
    EXPECT_THAT(ada.frames.back(), HasSubstr(R"("count":2)"));
    auto& tab = world.open(2, "ada");
    world.say(tab, kJoin);
    world.cut(tab, 1000);
    world.cut(ada, 1006);
    world.pass(4s);
    auto& back = world.open(3, "ada");
    world.say(back, kJoin);
    world.pass(10s);
    EXPECT_THAT(world.heard(bob), IsEmpty());
    world.cut(back, 1006);
    world.pass(4999ms);
    EXPECT_THAT(world.heard(bob), IsEmpty());
    world.pass(10ms);
    EXPECT_THAT(world.heard(bob), ElementsAre(HasSubstr("presence.leave")));
}

TEST_P(Shards, RepliesComeInTheOrderOfTheRequestsForAChannel) {
    World world(GetParam());
    auto& ada = world.open(0, "ada");
    world.forget_all();
    world.say(ada, kJoin);
    world.say(ada, R"({"type":"subscribe","id":2,"channel":"doc:1"})");
    world.say(ada, R"({"type":"publish","id":3,"channel":"doc:1","data":1,"echo":false})");
    world.say(ada, R"({"type":"unsubscribe","id":4,"channel":"doc:1"})");
    world.say(ada, R"({"type":"typing","id":5,"channel":"doc:1"})");
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("\"subscribed\""), HasSubstr("already_subscribed"),
                                              Not(HasSubstr("data")), HasSubstr("published"), HasSubstr("unsubscribed"),
                                              HasSubstr("not_subscribed")));
}

TEST_P(Shards, EveryoneHearsOneOrderAndRecoversWhatWasMissed) {
    World world(GetParam());
    auto& ada = world.open(0, "ada");
    auto& bob = world.open(1, "bob");
    world.say(ada, R"({"type":"subscribe","channel":"doc:1"})");
    world.say(bob, R"({"type":"subscribe","channel":"doc:1"})");
    world.forget_all();
    for (int i = 1; i <= 3; ++i) {
        world.say(i % 2 ? ada : bob, R"({"type":"publish","channel":"doc:1","data":)" + std::to_string(i) + "}");
    }
    const auto heard = world.heard(ada);
    EXPECT_EQ(heard, world.heard(bob));
    ASSERT_EQ(heard.size(), 3U);
    EXPECT_THAT(heard[2], HasSubstr(R"("offset":3)"));
    auto& cyd = world.open(2, "cyd");
    world.say(cyd, R"({"type":"subscribe","id":1,"channel":"doc:1","recover":{"epoch":"other","offset":1,"id":"x"}})");
    EXPECT_THAT(cyd.frames.back(), HasSubstr(R"("recovered":false,"reason":"epoch")"));
}

TEST_P(Shards, AKeyPublishesOnce) {
    World world(GetParam());
    auto& ada = world.open(0, "ada");
    world.forget_all();
    world.say(ada, R"({"type":"publish","id":1,"channel":"doc:1","data":1,"key":"k"})");
    world.say(ada, R"({"type":"publish","id":2,"channel":"doc:1","data":2,"key":"k"})");
    auto heard = world.heard(ada);
    ASSERT_EQ(heard.size(), 2U);
    EXPECT_THAT(heard[1], HasSubstr(R"("offset":1,"duplicate":true)"));
    world.pass(301s);
    world.say(ada, R"({"type":"publish","id":3,"channel":"doc:1","data":2,"key":"k"})");
    EXPECT_THAT(world.heard(ada).at(0), HasSubstr(R"("offset":2)"));
}

TEST_P(Shards, TypingStopsBeforeTheMessageAndIsNotToldToWhoTypes) {
    World world(GetParam());
    auto& ada = world.open(0, "ada");
    auto& bob = world.open(1, "bob");
    world.say(ada, R"({"type":"subscribe","channel":"live:1"})");
    world.say(bob, R"({"type":"subscribe","channel":"live:1"})");
    world.forget_all();
    world.say(ada, R"({"type":"typing","channel":"live:1"})");
    world.say(ada, R"({"type":"publish","channel":"live:1","data":1})");
    EXPECT_THAT(world.heard(bob), ElementsAre(HasSubstr("typing.start"), HasSubstr("typing.stop"), HasSubstr("message")));
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("message")));
}

TEST_P(Shards, ANotificationReachesAllDevicesAndWaitsForWhoIsAway) {
    World world(GetParam());
    auto& phone = world.open(0, "ada");
    auto& desk = world.open(1, "ada");
    world.forget_all();
    const auto reply = world.ask(codec::backend::Notify{"ada", "{\"n\":1}", {}});
    EXPECT_THAT(reply.body, HasSubstr(R"("devices":2)"));
    EXPECT_EQ(world.heard(phone).size(), 1U);
    EXPECT_EQ(world.heard(desk).size(), 1U);
    world.cut(phone, 1000);
    world.cut(desk, 1000);
    auto& back = world.open(2, "ada");
    EXPECT_THAT(back.frames.at(0), HasSubstr(R"("recovered":true,"messages":[{"data":{"n":1})"));
    world.say(back, R"({"type":"notification.ack","id":1,"offset":1})");
    world.say(back, R"({"type":"notification.ack","id":2,"offset":2})");
    EXPECT_THAT(back.frames.back(), HasSubstr("bad_request"));
    auto& again = world.open(3, "ada");
    EXPECT_THAT(again.frames.at(0), HasSubstr(R"("messages":[])"));
}

TEST_P(Shards, DeletingHistoryEndsSubscriptionsAndPresenceLingers) {
    World world(GetParam());
    auto& ada = world.open(0, "ada");
    auto& bob = world.open(1, "bob");
    world.say(ada, kJoin);
    world.say(bob, kJoin);
    world.say(ada, R"({"type":"publish","channel":"doc:1","data":1})");
    world.pass(1s);
    world.forget_all();
    EXPECT_EQ(world.ask(codec::backend::DeleteHistory{"doc:1"}).status, 204);
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("unrecoverable")));
    world.say(ada, kJoin);
    EXPECT_THAT(world.heard(ada), ElementsAre(testing::AllOf(HasSubstr(R"("offset":0)"), HasSubstr(R"("count":2)"))));
    world.pass(6s);
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("presence.leave")));
}

TEST_P(Shards, ARightThatIsMissingIsForbiddenAndChangesNothing) {
    World world(GetParam());
    auto& ada = world.open(0, "ada");
    world.forget_all();
    world.say(ada, R"({"type":"subscribe","id":1,"channel":"closed:1","presence":true})");
    world.say(ada, R"({"type":"subscribe","id":2,"channel":"closed:1"})");
    world.say(ada, R"({"type":"publish","id":3,"channel":"closed:1","data":1})");
    const auto heard = world.heard(ada);
    ASSERT_EQ(heard.size(), 3U);
    EXPECT_THAT(heard[0], HasSubstr("forbidden"));
    EXPECT_THAT(heard[1], testing::AllOf(HasSubstr("subscribed"), Not(HasSubstr("presence"))));
    EXPECT_THAT(heard[2], HasSubstr("forbidden"));
}

TEST_P(Shards, ResumeIsAcceptedForTwoMinutes) {
    World world(GetParam());
    auto& ada = world.open(0, "ada");
    const std::string connected = ada.frames.at(0);
    const std::size_t begin = connected.find("\"resume\":\"") + 10;
    const std::string token = connected.substr(begin, connected.find('"', begin) - begin);
    world.cut(ada, 1006);
    world.pass(100s);
    auto& back = world.open(2, "ada\",\"resume\":\"" + token);
    EXPECT_THAT(back.frames.at(0), HasSubstr(R"("resumed":true)"));
    world.pass(30s);
    auto& late = world.open(2, "ada\",\"resume\":\"" + token);
    EXPECT_THAT(late.frames.at(0), HasSubstr(R"("resumed":false)"));
}

TEST_P(Shards, ADrainTellsEachSessionItsOwnDelayAndEndsThemAll) {
    World world(GetParam());
    std::vector<World::Client*> clients;
    for (std::uint32_t i = 0; i < 20; ++i) { clients.push_back(&world.open(i, "u" + std::to_string(i))); }
    world.forget_all();
    Effects out;
    for (std::uint32_t i = 0; i < GetParam(); ++i) {
        world.shard(i).on_drain(10s, world.now(), out);
    }
    std::size_t told = 0;
    for (const auto& effect : out) {
        if (const auto* send = std::get_if<Send>(&effect)) { told += send->text.view().find("reconnect") != std::string::npos; }
    }
    EXPECT_EQ(told, 20U);
    world.pass(12s);
    for (const auto* client : clients) { EXPECT_EQ(client->closed, 1012); }
    for (std::uint32_t i = 0; i < GetParam(); ++i) { EXPECT_TRUE(world.shard(i).idle() && world.engine(i).idle()); }
}

TEST_P(Shards, BadFramesAreToldAndAHundredthRefusedOneEndsTheConnection) {
    World world(GetParam());
    auto& ada = world.open(0, "ada");
    world.forget_all();
    world.say(ada, "[");
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("bad_request")));
    for (int i = 0; i < 400 && !ada.closed; ++i) { world.say(ada, R"({"type":"ping","id":1})"); }
    EXPECT_EQ(ada.closed, 4007);
    auto& bob = world.open(0, "bob");
    for (int i = 0; i < 10; ++i) { world.say(bob, "nonsense"); }
    EXPECT_EQ(bob.closed, 4000);
}

}  // namespace
}  // namespace starling::engine

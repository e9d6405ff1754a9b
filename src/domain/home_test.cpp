// A home against an engine whose every answer the test gives, in any order that a cluster may give it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domain/home_rig.h"

namespace starling::domain {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const std::string kWatch = R"({"type":"subscribe","id":1,"channel":"doc:1"})";
const std::string kJoin = R"({"type":"subscribe","id":1,"channel":"doc:1","presence":true})";
const std::string kRecover =
    R"({"type":"subscribe","id":1,"channel":"doc:1","presence":true,"recover":{"epoch":"e","offset":2,"id":"b"}})";

TEST(Home, ASubscribeWaitsForTheChainAndForItsOwnPresence) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kJoin);
    world.listening();
    world.joins("bob");
    EXPECT_THAT(world.heard(ada), IsEmpty());
    EXPECT_THAT(world.asked<Enter>(), SizeIs(1));
    world.entered("ada");
    EXPECT_THAT(world.heard(ada), ElementsAre(AllOf(HasSubstr("subscribed"), HasSubstr(R"("count":2)"),
                                                    HasSubstr(R"("offset":4)"), Not(HasSubstr("stale")))));
    // A second tab waits for nothing.
    auto& tab = world.open("ada");
    world.say(tab, kJoin);
    EXPECT_THAT(world.heard(tab), ElementsAre(HasSubstr(R"("count":2)")));
    EXPECT_THAT(world.asked<Enter>(), IsEmpty());
}

TEST(Home, EnteredBeforeTheChainIsAsGood) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kJoin);
    world.entered("ada");
    EXPECT_THAT(world.heard(ada), IsEmpty());
    world.listening();
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("subscribed")));
}

TEST(Home, WhatIsDeliveredWhileTheLogIsReadIsInItsAnswer) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kRecover);
    world.listening();
    EXPECT_THAT(world.asked<Read>(), IsEmpty()) << "presence comes first";
    world.entered("ada");
    const auto reads = world.asked<Read>();
    ASSERT_THAT(reads, SizeIs(1));
    world.delivered(5, "m5");
    EXPECT_THAT(world.heard(ada), IsEmpty());
    ReadAnswer answer{.call = reads[0].call, .result = ReadResult{}};
    answer.result->top = Position{"e", 5, "m5"};
    answer.result->messages.push_back({.id = "m5", .offset = 5, .data = "1"});
    world.tell(std::move(answer));
    EXPECT_THAT(world.heard(ada), ElementsAre(AllOf(HasSubstr(R"("recovered":true)"), HasSubstr(R"("offset":5,"id":"m5")"))));
    world.delivered(6, "m6");
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr(R"("offset":6)")));
}

TEST(Home, WhoIsTakenOutByItsOwnLateFarewellWaitsUntilItIsBack) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kRecover);
    world.listening();
    world.entered("ada");
    const CallId first = world.asked<Read>().at(0).call;
    MembersChanged left{.channel = kDoc};
    left.leaves.push_back("ada");
    world.tell(std::move(left));
    world.tell(ReadAnswer{first, ReadResult{}});
    EXPECT_THAT(world.heard(ada), IsEmpty());
    world.joins("ada");
    world.tell(ReadAnswer{world.asked<Read>().at(0).call, ReadResult{}});
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr(R"("count":1)")));
}

TEST(Home, AReadThatFailsWithdrawsTheSubscribe) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kRecover);
    world.listening();
    world.entered("ada");
    const CallId call = world.asked<Read>().at(0).call;
    world.say(ada, R"({"type":"typing","id":2,"channel":"doc:1"})");
    world.tell(ReadAnswer{call, std::unexpected(ReadAnswer::Refused{Error{ErrorCode::unavailable, "away"}, {}})});
    EXPECT_THAT(world.heard(ada), ElementsAre(AllOf(HasSubstr("unavailable"), HasSubstr(R"("id":1)")), HasSubstr(R"("id":2)")));
    const auto exits = world.asked<Exit>();
    ASSERT_THAT(exits, SizeIs(1));
    EXPECT_EQ(exits[0].how, Departure::broken);
    world.delivered(5, "m5");
    EXPECT_THAT(world.heard(ada), IsEmpty());
    world.say(ada, kWatch);
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("\"subscribed\"")));
}

TEST(Home, ABreakEndsWhoHasJoinedAndGivesWhoWaitsTheNewPosition) {
    HomeWorld world;
    auto& bob = world.open("bob");
    world.say(bob, kWatch);
    world.listening();
    world.heard(bob);
    auto& ada = world.open("ada");
    world.say(ada, kJoin);
    world.tell(Broken{kDoc, Position{"f", 0, ""}});
    EXPECT_THAT(world.heard(bob), ElementsAre(HasSubstr("unrecoverable")));
    EXPECT_THAT(world.heard(ada), IsEmpty());
    world.entered("ada");
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr(R"("position":{"epoch":"f","offset":0,"id":""})")));
    EXPECT_THAT(world.asked<Exit>(), IsEmpty());
}

TEST(Home, PublishesOverlapAndTheRestWaitsItsTurn) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, R"({"type":"publish","id":1,"channel":"doc:1","data":1})");
    world.say(ada, R"({"type":"publish","id":2,"channel":"doc:1","data":2})");
    world.say(ada, R"({"type":"history.get","id":3,"channel":"doc:1"})");
    world.say(ada, R"({"type":"publish","id":4,"channel":"doc:1","data":3})");
    world.say(ada, R"({"type":"typing","id":5,"channel":"doc:1"})");
    const auto publishes = world.asked<Publish>();
    ASSERT_THAT(publishes, SizeIs(2));
    world.tell(Published{publishes[0].call, codec::backend::PublishResult{.message_id = "a"}});
    EXPECT_THAT(world.asked<Read>(), IsEmpty());
    world.tell(Published{publishes[1].call, std::unexpected(Error{ErrorCode::timeout, "late"})});
    const auto reads = world.asked<Read>();
    ASSERT_THAT(reads, SizeIs(1));
    world.tell(ReadAnswer{reads[0].call, ReadResult{}});
    const auto last = world.asked<Publish>();
    ASSERT_THAT(last, SizeIs(1));
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr(R"("id":1)"), AllOf(HasSubstr(R"("id":2)"), HasSubstr("timeout")),
                                              HasSubstr(R"("id":3)")));
    world.tell(Published{last[0].call, codec::backend::PublishResult{.message_id = "c"}});
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr(R"("id":4)"), HasSubstr("not_subscribed")));
}

TEST(Home, ASubscribeAndItsUnsubscribeAreAnsweredInOrder) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kJoin);
    world.say(ada, R"({"type":"unsubscribe","id":2,"channel":"doc:1"})");
    world.listening();
    world.entered("ada");
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("\"subscribed\""), HasSubstr("unsubscribed")));
    EXPECT_EQ(world.asked<Exit>().at(0).how, Departure::clean);
}

TEST(Home, ASessionThatEndsWhileItWaitsLeavesNothingBehind) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kJoin);
    world.say(ada, R"({"type":"publish","channel":"doc:1","data":1})");
    world.cut(ada);
    EXPECT_THAT(world.asked<Publish>(), SizeIs(1)) << "what it published before it went is published";
    world.listening();
    world.entered("ada");
    world.pass(9s);
    EXPECT_THAT(world.asked<Unlisten>(), IsEmpty());
    world.pass(2s);
    EXPECT_THAT(world.asked<Unlisten>(), SizeIs(1));
    EXPECT_THAT(world.heard(ada), IsEmpty());
    // And the channel can be used again.
    auto& bob = world.open("bob");
    world.say(bob, kWatch);
    EXPECT_THAT(world.asked<Listen>(), SizeIs(1));
    world.listening();
    EXPECT_THAT(world.heard(bob), ElementsAre(HasSubstr(R"("count":0)")));
}

TEST(Home, TheLastHolderTellsHowPresenceEnds) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kJoin);
    world.cut(ada);
    const auto exits = world.asked<Exit>();
    ASSERT_THAT(exits, SizeIs(1));
    EXPECT_EQ(exits[0].how, Departure::broken);
}

TEST(Home, AnswersAreStaleWhileTheEngineIsOutOfReach) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kWatch);
    world.listening(std::nullopt, true);
    EXPECT_THAT(world.heard(ada), ElementsAre(AllOf(HasSubstr(R"("stale":true)"), Not(HasSubstr("position")))));
    world.tell(Reach{partition_of(kDoc, 32), true});
    world.say(ada, R"({"type":"presence.get","id":2,"channel":"doc:1"})");
    EXPECT_THAT(world.heard(ada), ElementsAre(Not(HasSubstr("stale"))));
    world.tell(Reach{partition_of(kDoc, 32), false});
    world.say(ada, R"({"type":"presence.get","id":3,"channel":"doc:1"})");
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr(R"("stale":true)")));
    world.ask(codec::backend::PresenceList{"doc:1", 100, {}});
    EXPECT_THAT(world.replies.at(0).body, HasSubstr(R"("stale":true)"));
}

TEST(Home, PresenceOfAChannelThatNobodyHereHearsIsListenedFor) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.ask(codec::backend::PresenceCount{"doc:1"});
    world.say(ada, R"({"type":"presence.get","id":2,"channel":"doc:1"})");
    EXPECT_THAT(world.replies, IsEmpty());
    EXPECT_THAT(world.asked<Listen>(), SizeIs(1));
    world.listening();
    EXPECT_THAT(world.replies, SizeIs(1));
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("\"presence\"")));
    world.joins("bob");
    world.ask(codec::backend::PresenceCount{"doc:1"});
    EXPECT_THAT(world.replies.at(1).body, HasSubstr(R"("count":1)")) << "it is kept for a while";
    world.pass(11s);
    EXPECT_THAT(world.asked<Unlisten>(), SizeIs(1));
}

TEST(Home, TypingGoesToTheOtherNodesAndComesFromThem) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kWatch);
    world.listening();
    world.heard(ada);
    world.say(ada, R"({"type":"typing","channel":"doc:1"})");
    world.say(ada, R"({"type":"typing","channel":"doc:1"})");
    EXPECT_THAT(world.asked<SignalTyping>(), SizeIs(1));
    world.say(ada, R"({"type":"typing","channel":"doc:1","active":false})");
    EXPECT_FALSE(world.asked<SignalTyping>().at(0).active);
    world.joins("bob");
    world.tell(TypingHeard{kDoc, "bob", true});
    MembersChanged left{.channel = kDoc};
    left.leaves.push_back("bob");
    world.pass(1s);
    world.heard(ada);
    world.tell(std::move(left));
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("typing.stop"), HasSubstr("presence.leave")));
}

TEST(Home, AMessageEndsWhatWasTypedBeforeItAndNotWhatIsTypedAfter) {
    HomeWorld world;
    auto& ada = world.open("ada");
    auto& bob = world.open("bob");
    world.say(ada, kWatch);
    world.say(bob, kWatch);
    world.listening();
    world.heard(bob);
    world.say(ada, R"({"type":"typing","channel":"doc:1"})");
    world.say(ada, R"({"type":"publish","id":2,"channel":"doc:1","data":1})");
    const auto publishes = world.asked<Publish>();
    const std::string id = publishes.at(0).message.id;
    world.tell(Published{publishes[0].call, codec::backend::PublishResult{.message_id = id}});
    world.say(ada, R"({"type":"typing","channel":"doc:1"})");
    EXPECT_THAT(world.asked<SignalTyping>(), SizeIs(1)) << "it begins anew, for the other nodes too";
    Message message{.id = id, .offset = 5, .data = "1", .user_id = "ada"};
    world.tell(Delivered{kDoc, message, ""});
    EXPECT_THAT(world.heard(bob), ElementsAre(HasSubstr("typing.start"), HasSubstr("typing.stop"), HasSubstr("typing.start"),
                                              HasSubstr("\"message\"")));
}

TEST(Home, InDoubtWhoShowsNoSignOfLifeIsClosedBeforeTheRestIsProven) {
    HomeWorld world;
    const std::uint32_t partition = partition_of(kDoc, 32);
    auto& ada = world.open("ada");
    auto& bob = world.open("bob");
    auto& cyd = world.open("cyd");
    world.say(ada, kJoin);
    world.say(bob, kJoin);
    world.say(cyd, kWatch);
    world.asked<Enter>();
    world.tell(Doubt{partition});
    world.tell(Doubt{partition});
    EXPECT_EQ(ada.probes + bob.probes, 2) << "each is asked once";
    EXPECT_EQ(cyd.probes, 0) << "she is not present";
    world.alive(ada);
    world.pass(1999ms);
    EXPECT_THAT(world.asked<Proven>(), IsEmpty());
    world.pass(1ms);
    EXPECT_EQ(bob.closed, 4009);
    EXPECT_FALSE(ada.closed);
    EXPECT_EQ(world.order<Exit>() + 1, world.order<Proven>());
    EXPECT_THAT(world.asked<Proven>(), SizeIs(1));
    world.tell(Doubt{partition});
    world.alive(ada);
    EXPECT_THAT(world.asked<Proven>(), SizeIs(1)) << "nobody to wait for any more";
    world.tell(Doubt{partition + 1});
    EXPECT_THAT(world.asked<Proven>(), SizeIs(1)) << "nobody is present there";
}

TEST(Home, NotificationsThatBeginAnewAreToldWithWhatIsUnread) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.tell(Broken{{0, "@ada"}, Position{"v", 3, "n3"}});
    EXPECT_THAT(world.heard(ada), ElementsAre(AllOf(HasSubstr("\"notifications\""), HasSubstr(R"("recovered":false)"))));
    Message message{.id = "n4", .offset = 4, .data = "1"};
    world.tell(Delivered{{0, "@ada"}, message, ""});
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("\"notification\"")));
}

TEST(Home, ANewcomerToAConflatingChannelGetsNoMoreThanARecoveryMayHave) {
    auto settings = home_settings();
    settings->apps[0].namespaces[0] = {.name = "", .allow = kAllRights, .conflate = 100ms};
    settings->recover_bytes = 3000;
    HomeWorld world(settings);
    auto& ada = world.open("ada");
    world.say(ada, kWatch);
    world.listening(std::nullopt);
    for (const char* key : {"a", "b", "c"}) {
        Message message{.id = key, .data = '"' + std::string(1000, 'x') + '"', .conflate_key = key};
        world.tell(Delivered{kDoc, std::move(message), ""});
    }
    EXPECT_THAT(world.heard(ada), SizeIs(4));
    auto& bob = world.open("bob");
    world.say(bob, kWatch);
    const auto heard = world.heard(bob);
    ASSERT_THAT(heard, SizeIs(1));
    EXPECT_THAT(heard[0], AllOf(HasSubstr(R"("conflateKey":"b")"), HasSubstr(R"("conflateKey":"c")"),
                                Not(HasSubstr(R"("conflateKey":"a")"))));
}

TEST(Home, IngressReachesTheSubscribersWithoutAPlaceInTheOrder) {
    HomeWorld world;
    auto& ada = world.open("ada");
    world.say(ada, kWatch);
    world.listening();
    world.heard(ada);
    world.tell(Ingress{kDoc, "", "{\"a\":1}"});
    EXPECT_THAT(world.heard(ada), ElementsAre(AllOf(HasSubstr(R"("data":{"a":1})"), Not(HasSubstr("offset")), Not(HasSubstr("\"id\"")))));
    world.tell(Ingress{{}, "node-0-0-1", "2"});
    EXPECT_THAT(world.heard(ada), ElementsAre(HasSubstr("direct")));
}

}  // namespace
}  // namespace starling::domain

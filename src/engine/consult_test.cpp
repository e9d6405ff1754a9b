// Questions about the whole cluster, between nodes of one and of three shards.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/shard_rig.h"

namespace starling::engine {
namespace {

using namespace domain;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Nodes : public testing::TestWithParam<std::uint32_t> {
 protected:
    Nodes() : shards(GetParam()), world(shards, 3) { world.introduce(); }
    World::Client& open(std::uint32_t node, const std::string& user) { return world.open(node * shards + user.size() % shards, user); }

    std::uint32_t shards;
    World world;
};
INSTANTIATE_TEST_SUITE_P(OneThree, Nodes, testing::Values(1U, 3U));

std::string id_of(const World::Client& client) {
    const std::string& connected = client.frames.at(0);
    const std::size_t begin = connected.find("\"connectionId\":\"") + 16;
    return connected.substr(begin, connected.find('"', begin) - begin);
}

TEST_P(Nodes, AUserIsFoundOnEveryNode) {
    open(0, "ada");
    open(1, "ada");
    open(2, "bob");
    const auto reply = world.ask(codec::backend::GetUser{"ada"});
    EXPECT_THAT(reply.body, AllOf(HasSubstr(R"("online":true)"), HasSubstr(R"("nodeId":"node")"), HasSubstr(R"("nodeId":"node1")"),
                                  Not(HasSubstr("node2")), Not(HasSubstr("partial"))));
}

TEST_P(Nodes, WhoDoesNotAnswerMakesItPartialWithinAHeartbeat) {
    open(0, "ada");
    open(1, "ada");
    world.silence(1);
    EXPECT_THAT(world.ask(codec::backend::GetUser{"ada"}).body, IsEmpty());
    world.pass(999ms);
    EXPECT_THAT(world.reply().body, IsEmpty());
    world.pass(1ms);
    EXPECT_THAT(world.reply().body, AllOf(HasSubstr(R"("partial":true)"), Not(HasSubstr("node1"))));
    world.ask(codec::backend::GetNodes{});
    world.pass(1s);
    EXPECT_THAT(world.reply().body, AllOf(HasSubstr(R"("nodeId":"node1","address":"a")"), HasSubstr(R"("partial":true)"),
                                          HasSubstr(R"("nodeId":"node2")")));
}

TEST_P(Nodes, AUserIsSubscribedUnsubscribedAndEndedEverywhere) {
    auto& here = open(0, "ada");
    auto& there = open(1, "ada");
    world.forget_all();
    EXPECT_EQ(world.ask(codec::backend::SubscribeUser{"ada", "doc:1", false, {}}).body, R"({"connections":2})");
    EXPECT_THAT(world.heard(there), ElementsAre(HasSubstr("subscribed")));
    EXPECT_EQ(world.ask(codec::backend::UnsubscribeUser{"ada", "doc:1"}).body, R"({"connections":2})");
    EXPECT_EQ(world.ask(codec::backend::DisconnectUser{"ada", 4100, "bye"}).body, R"({"connections":2})");
    EXPECT_EQ(here.closed, 4100);
    EXPECT_EQ(there.closed, 4100);
}

TEST_P(Nodes, ADirectMessageFindsItsConnection) {
    auto& there = open(2, "ada");
    const std::string id = id_of(there);
    world.forget_all();
    EXPECT_EQ(world.ask(codec::backend::SendDirect{id, "1"}).status, 202);
    EXPECT_THAT(world.heard(there), ElementsAre(HasSubstr("direct")));
    EXPECT_EQ(world.ask(codec::backend::SendDirect{"node2-0-63-1", "1"}).status, 404);
    EXPECT_EQ(world.ask(codec::backend::SendDirect{"node9-0-0-1", "1"}).status, 404);
    EXPECT_EQ(world.ask(codec::backend::SendDirect{"node-x", "1"}).status, 404);
    world.silence(2);
    world.ask(codec::backend::SendDirect{id, "1"});
    world.pass(1s);
    EXPECT_EQ(world.reply().status, 503);
}

TEST_P(Nodes, DevicesOfANotificationAreCountedEverywhere) {
    open(0, "ada");
    open(1, "ada");
    open(2, "ada");
    EXPECT_THAT(world.ask(codec::backend::Notify{"ada", "1", "k"}).body, HasSubstr(R"("devices":3)"));
    EXPECT_THAT(world.ask(codec::backend::Notify{"ada", "1", "k"}).body, AllOf(HasSubstr(R"("devices":0)"), HasSubstr("duplicate")));
    const auto many = world.ask(codec::backend::NotifyMany{{"bob", "", "ada"}, "1", {}});
    EXPECT_THAT(many.body, AllOf(HasSubstr(R"("devices":0)"), HasSubstr(R"("devices":3)"), HasSubstr("bad_request")));
}

TEST_P(Nodes, ChannelsArePagedOverAllNodes) {
    for (std::uint32_t node = 0; node < 3; ++node) {
        auto& client = open(node, "u" + std::to_string(node));
        for (const char* name : {"doc:1", "doc:2"}) {
            world.say(client, std::string(R"({"type":"subscribe","channel":")") + name + "\"}");
        }
        world.say(client, R"({"type":"subscribe","channel":"own:)" + std::to_string(node) + "\"}");
    }
    EXPECT_EQ(world.ask(codec::backend::ListChannels{"doc:", 100, {}}).body,
              R"({"channels":[{"channel":"doc:1","subscribers":3,"present":0},{"channel":"doc:2","subscribers":3,"present":0}]})");
    std::string cursor;
    std::string all;
    for (int page = 0; page < 5; ++page) {
        const auto reply = world.ask(codec::backend::ListChannels{"", 1, cursor.empty() ? std::optional<std::string>() : cursor});
        all += reply.body;
        const std::size_t at = reply.body.find("\"cursor\":\"");
        if (at == std::string::npos) { break; }
        cursor = reply.body.substr(at + 10, reply.body.find('"', at + 10) - at - 10);
    }
    EXPECT_THAT(all, AllOf(HasSubstr("doc:2"), HasSubstr("own:0"), HasSubstr("own:1"), HasSubstr("own:2")));
}

TEST_P(Nodes, ASessionIsResumedOnAnotherNode) {
    auto& ada = open(0, "ada");
    const std::string& connected = ada.frames.at(0);
    const std::size_t begin = connected.find("\"resume\":\"") + 10;
    const std::string token = connected.substr(begin, connected.find('"', begin) - begin);
    world.cut(ada, 1006);
    auto& back = open(1, "ada\",\"resume\":\"" + token);
    EXPECT_THAT(back.frames.at(0), HasSubstr(R"("resumed":true)"));
    world.pass(121s);
    auto& late = open(2, "ada\",\"resume\":\"" + token);
    EXPECT_THAT(late.frames.at(0), HasSubstr(R"("resumed":false)"));
    world.silence(0);
    auto& alone = open(2, "ada\",\"resume\":\"" + token);
    EXPECT_THAT(alone.frames, IsEmpty());
    world.pass(1s);
    EXPECT_THAT(alone.frames.at(0), HasSubstr(R"("resumed":false)"));
    // The next ones do not wait for it again, for a while.
    EXPECT_THAT(open(2, "ada\",\"resume\":\"" + token).frames.at(0), HasSubstr(R"("resumed":false)"));
    world.pass(3s);
    EXPECT_THAT(open(2, "ada\",\"resume\":\"" + token).frames, IsEmpty());
}

TEST_P(Nodes, AUsersConnectionsAreLimitedOverAllNodes) {
    auto with = settings();
    with->connections_per_user = 2;
    World limited(shards, 3, with);
    limited.introduce();
    auto& one = limited.open(0, "ada");
    auto& two = limited.open(shards, "ada");
    EXPECT_FALSE(one.closed || two.closed);
    auto& three = limited.open(2 * shards, "ada");
    EXPECT_THAT(three.frames, ElementsAre(AllOf(HasSubstr("limit_exceeded"), HasSubstr("connections_per_user is 2"))));
    EXPECT_EQ(three.closed, 4006);
    limited.cut(one, 1000);
    EXPECT_FALSE(limited.open(2 * shards, "ada").closed);
    EXPECT_EQ(limited.open(0, "ada").closed, 4006);
    // What is on a node that has died keeps nobody out.
    limited.silence(1);
    auto& back = limited.open(0, "ada");
    EXPECT_THAT(back.frames, IsEmpty());
    limited.pass(1s);
    EXPECT_THAT(back.frames, ElementsAre(HasSubstr("connected")));
    EXPECT_FALSE(back.closed);
}

TEST_P(Nodes, AConnectionResumedOnAnotherNodeMakesWay) {
    auto with = settings();
    with->connections_per_user = 1;
    World limited(shards, 3, with);
    limited.introduce();
    auto& old = limited.open(0, "ada");
    const std::string& connected = old.frames.at(0);
    const std::size_t begin = connected.find("\"resume\":\"") + 10;
    const std::string token = connected.substr(begin, connected.find('"', begin) - begin);
    EXPECT_FALSE(limited.open(shards, "ada\",\"resume\":\"" + token).closed);
    EXPECT_EQ(limited.open(2 * shards, "ada\",\"resume\":\"" + token).closed, 4006);
}

TEST_P(Nodes, WhatIsNoQuestionIsIgnored) {
    world.tell(0, Heard{"node1", "nonsense"});
    world.tell(0, Heard{"node1", control::encode(control::Answer{.id = 77})});
    EXPECT_EQ(world.ask(codec::backend::GetUser{"ada"}).body, R"({"online":false,"connections":[]})");
}

}  // namespace
}  // namespace starling::engine

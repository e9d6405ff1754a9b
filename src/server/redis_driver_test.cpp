// The driver between an engine that records what it is told and a peer on loopback.

#include "server/redis_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "server/client_rig.h"
#include "server/listener_rig.h"

namespace starling::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// "connected 1", "closed 1: why" in order; bytes are kept apart, for they come in pieces of any size.
class Recorder : public engine::Engine {
 public:
    void start(Now, engine::Output&) override {}
    void on_call(domain::EngineCall&, Now, engine::Output&) override {}
    void on_connected(engine::LinkId link, Now, engine::Output& out) override {
        told.push_back("connected " + std::to_string(link));
        if (!greeting.empty()) { out.actions.emplace_back(engine::Write{link, greeting}); }
    }
    void on_bytes(engine::LinkId link, std::string_view bytes, Now, engine::Output& out) override {
        heard[link] += bytes;
        if (!ended_by.empty() && heard[link].find(ended_by) != std::string::npos) { out.actions.emplace_back(engine::Disconnect{link}); }
    }
    void on_closed(engine::LinkId link, std::string_view reason, Now, engine::Output& out) override {
        told.push_back("closed " + std::to_string(link) + ": " + std::string(reason));
        if (next) { out.actions.emplace_back(*std::exchange(next, std::nullopt)); }
        out.events.emplace_back(domain::Broken{});
    }
    std::optional<Instant> next_deadline() const override { return std::nullopt; }
    void on_deadline(Now, engine::Output&) override {}
    bool idle() const override { return true; }

    std::vector<std::string> told;
    std::map<engine::LinkId, std::string> heard;
    std::string greeting, ended_by;
    std::optional<engine::Connect> next;     // Asked for when a link has closed.
};

class Driver : public testing::Test {
 protected:
    void ask(engine::Action action) {
        engine::Output output;
        output.actions.push_back(std::move(action));
        driver.perform(output);
        EXPECT_THAT(output.actions, IsEmpty());
    }
    void connect(engine::LinkId link, std::uint16_t port) { ask(engine::Connect{.link = link, .host = "127.0.0.1", .port = port}); }
    // Turns of a loop, until this is so; each ends with an event or after a while.
    template <typename Condition>
    bool turn_until(const Condition& done) {
        for (const auto end = std::chrono::steady_clock::now() + 20s; !done(); turn()) {
            if (std::chrono::steady_clock::now() > end) { return false; }
        }
        return true;
    }
    void turn() {
        std::vector<net::Event> turn_events;
        transport.flush();
        transport.wait(50ms, turn_events);
        for (const net::Event& event : turn_events) {
            last = event;
            mine = driver.on_event(event, {}, events);
        }
    }

    net::Transport transport;
    Recorder engine;
    RedisDriver driver{transport, engine, nullptr};
    domain::EngineEvents events;
    net::Event last;
    bool mine = false;
};

TEST_F(Driver, CarriesBytesBothWaysAndSaysWhenThePeerHasGone) {
    const ScriptedServer server([](int peer) {
        EXPECT_EQ(receive(peer, "end"), "hello, end");
        say(peer, "the last word");
    });
    engine.greeting = "hello, end";
    connect(7, server.port());
    // What came before the end is heard before it, although both may come in one turn.
    ASSERT_TRUE(turn_until([&] { return engine.told.size() == 2; }));
    EXPECT_THAT(engine.told, ElementsAre("connected 7", "closed 7: the server closed the connection"));
    EXPECT_EQ(engine.heard[7], "the last word");
    EXPECT_EQ(events.size(), 1U);
    EXPECT_TRUE(mine);
    EXPECT_FALSE(driver.owns(last.connection));
    ask(engine::Write{7, "to nobody"});
    ask(engine::Disconnect{7});
    EXPECT_EQ(transport.connection_count(), 0U);
}

TEST_F(Driver, ARefusedConnectionIsClosedWithItsReason) {
    const ReservedPort nobody;
    connect(1, nobody.port());
    ASSERT_TRUE(turn_until([&] { return !engine.told.empty(); }));
    EXPECT_THAT(engine.told, ElementsAre("closed 1: Connection refused"));
}

TEST_F(Driver, WhatTheEngineAsksForInAnAnswerIsDoneAtOnce) {
    const ReservedPort nobody;
    const ScriptedServer server([](int peer) { receive(peer); });
    engine.next = engine::Connect{.link = 2, .host = "127.0.0.1", .port = server.port()};
    connect(1, nobody.port());
    ASSERT_TRUE(turn_until([&] { return engine.told.size() == 2; }));
    EXPECT_THAT(engine.told, ElementsAre(StartsWith("closed 1: "), "connected 2"));
}

TEST_F(Driver, ALinkThatTheEngineEndsIsGoneAtOnceAndNothingMoreIsToldOfIt) {
    std::atomic<bool> ended = false;
    const ScriptedServer server([&](int peer) {
        const std::string text = "stop" + std::string(1 << 20, 'x');
        (void)::send(peer, text.data(), text.size(), MSG_NOSIGNAL);   // As far as it comes.
        receive(peer);
        ended = true;
    });
    engine.ended_by = "stop";
    connect(3, server.port());
    ASSERT_TRUE(turn_until([&] { return ended.load(); }));
    EXPECT_THAT(engine.told, ElementsAre("connected 3"));
    EXPECT_FALSE(driver.owns(last.connection));
}

TEST_F(Driver, AFloodFromOneServerStarvesNobodyAndIsHeardWhole) {
    constexpr std::size_t kFlood = 32u << 20;
    const ScriptedServer flood([](int peer) {
        say(peer, std::string(kFlood, 'x'));
        receive(peer);
    });
    const ScriptedServer other([](int peer) { say(peer, "me too"); receive(peer); });
    connect(1, flood.port());
    connect(2, other.port());
    ASSERT_TRUE(turn_until([&] { return engine.heard[2] == "me too"; }));
    ASSERT_TRUE(turn_until([&] { return engine.heard[1].size() == kFlood; }));
}

TEST_F(Driver, AConnectionOfAnotherIsNotItsOwn) {
    const ScriptedServer server([](int peer) { receive(peer); });
    const net::ConnectionId stranger = transport.connect("127.0.0.1", server.port(), nullptr);
    EXPECT_FALSE(driver.owns(stranger));
    mine = true;
    ASSERT_TRUE(turn_until([&] { return last.connection == stranger && last.kind == net::Event::Kind::connected; }));
    EXPECT_FALSE(mine);
    EXPECT_THAT(engine.told, IsEmpty());
}

}  // namespace
}  // namespace starling::server

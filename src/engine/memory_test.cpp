#include "engine/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace starling::engine {
namespace {

using namespace domain;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const ChannelRef kDoc{0, "doc:1"};
const HistoryLimits kLog{3, 10s};

struct MemoryWorld {
    Memory memory{5s, 1};
    Duration time = 0s;
    std::vector<EngineEvent> events;

    Now now() const { return {Instant{} + 1h + time, 1000 + time / 1ms}; }
    void call(EngineCall what) {
        Output out;
        memory.on_call(what, now(), out);
        for (auto& event : out.events) { events.push_back(std::move(event)); }
    }
    void pass(Duration duration) {
        const Duration end = time + duration;
        while (const auto next = memory.next_deadline()) {
            if (*next > Instant{} + 1h + end) { break; }
            time = std::max(time, *next - (Instant{} + 1h));
            Output out;
            memory.on_deadline(now(), out);
            for (auto& event : out.events) { events.push_back(std::move(event)); }
        }
        time = end;
    }
    template <typename Event>
    std::vector<Event> told() {
        std::vector<Event> out;
        for (auto& event : events) {
            if (auto* one = std::get_if<Event>(&event)) { out.push_back(std::move(*one)); }
        }
        events.clear();
        return out;
    }
    codec::backend::PublishResult publish(std::string id, std::optional<std::string> key = {}, HistoryLimits log = kLog) {
        Message message;
        message.id = std::move(id);
        message.data = "1";
        call(Publish{.call = 1, .channel = kDoc, .message = std::move(message), .key = std::move(key), .log = log});
        return *told<Published>().at(0).result;
    }
    ReadAnswer read(std::optional<Position> since) {
        call(Read{.call = 2, .channel = kDoc, .recover = since.has_value(), .since = since, .log = kLog});
        return told<ReadAnswer>().at(0);
    }
};

TEST(Memory, NumbersAndDeliversToWhoListens) {
    MemoryWorld world;
    world.publish("a");
    world.call(Listen{kDoc, kLog});
    const auto listening = world.told<Listening>();
    ASSERT_THAT(listening, SizeIs(1));
    EXPECT_EQ(listening[0].top->offset, 1U);
    Message message{.id = "b"};
    world.call(Publish{.call = 7, .channel = kDoc, .message = message, .except = "node-0-1-1", .log = kLog});
    const auto delivered = world.told<Delivered>();
    ASSERT_THAT(delivered, SizeIs(1));
    EXPECT_EQ(delivered[0].message.offset, 2U);
    EXPECT_EQ(delivered[0].except, "node-0-1-1");
    world.call(Unlisten{kDoc});
    world.publish("c");
    EXPECT_THAT(world.told<Delivered>(), IsEmpty());
}

TEST(Memory, AKeyGivesTheFirstResultForItsTime) {
    MemoryWorld world;
    EXPECT_FALSE(world.publish("a", "k").duplicate);
    const auto again = world.publish("b", "k");
    EXPECT_TRUE(again.duplicate);
    EXPECT_EQ(again.message_id, "a");
    world.pass(300s);
    EXPECT_FALSE(world.publish("c", "k").duplicate);
}

TEST(Memory, WithoutHistoryNothingIsNumberedOrKept) {
    MemoryWorld world;
    EXPECT_FALSE(world.publish("a", {}, {0, 0s}).position);
    EXPECT_EQ(world.memory.channels(), 0U);
}

TEST(Memory, AnExpiredLogGoesOnCountingForADayAndThenBeginsAnew) {
    MemoryWorld world;
    const Position first = *world.publish("a").position;
    EXPECT_EQ(world.memory.channels(), 1U);
    world.pass(11s);
    EXPECT_EQ(world.memory.channels(), 0U) << "its messages have expired";
    EXPECT_EQ(world.memory.remembered(), 1U);
    EXPECT_TRUE(world.read(first).result) << "nothing was missed";
    const Position second = *world.publish("b").position;
    EXPECT_EQ(second.epoch, first.epoch);
    EXPECT_EQ(second.offset, 2U);
    const auto missed = world.read(first);
    ASSERT_TRUE(missed.result);
    EXPECT_THAT(missed.result->messages, SizeIs(1));
    world.pass(11s);
    world.pass(Memory::kRememberPositions);
    EXPECT_EQ(world.memory.remembered(), 0U);
    const Position third = *world.publish("c").position;
    EXPECT_NE(third.epoch, first.epoch);
    EXPECT_EQ(third.offset, 1U);
    EXPECT_EQ(std::get<RecoverFailure>(world.read(second).result.error().why), RecoverFailure::epoch);
}

TEST(Memory, AListenedChannelKeepsItsEpochWhenAnotherIsGivenUp) {
    MemoryWorld world;
    world.call(Listen{{0, "doc:2"}, kLog});
    const std::string epoch = world.told<Listening>().at(0).top->epoch;
    world.publish("a");
    world.pass(11s + Memory::kRememberPositions);
    world.call(Publish{.call = 1, .channel = {0, "doc:2"}, .message = Message{.id = "b"}, .log = kLog});
    EXPECT_EQ(world.told<Published>().at(0).result->position->epoch, epoch);
}

TEST(Memory, EraseBeginsAnEpochAndTellsThoseWhoListen) {
    MemoryWorld world;
    const Position old = *world.publish("a", "k").position;
    world.call(Listen{kDoc, kLog});
    world.call(Erase{3, kDoc});
    const auto broken = world.told<Broken>();
    ASSERT_THAT(broken, SizeIs(1));
    EXPECT_NE(broken[0].top->epoch, old.epoch);
    EXPECT_EQ(broken[0].top->offset, 0U);
    EXPECT_FALSE(world.publish("b", "k").duplicate) << "the keys went with the log";
}

TEST(Memory, AckMovesForwardOnlyAndNotPastTheNewest) {
    MemoryWorld world;
    world.publish("a");
    world.publish("b");
    world.call(Listen{kDoc, kLog});
    world.call(Acknowledge{4, kDoc, 2, "me"});
    EXPECT_THAT(world.told<AcknowledgedElsewhere>(), SizeIs(1));
    world.call(Acknowledge{5, kDoc, 1, "me"});
    EXPECT_THAT(world.told<AcknowledgedElsewhere>(), IsEmpty());
    world.call(Acknowledge{6, kDoc, 3, "me"});
    EXPECT_EQ(world.told<Acknowledged>().at(0).newest, 2U);
    EXPECT_EQ(world.read(std::nullopt).result->acknowledged, 2U);
}

TEST(Memory, WhoIsBackWithinTheLingerNeverLeft) {
    MemoryWorld world;
    world.call(Listen{kDoc, kLog});
    world.call(Enter{kDoc, "ada", "1", {}});
    const auto joined = world.told<MembersChanged>();
    EXPECT_THAT(joined.back().joins, ElementsAre(Member{"ada", 1000, "1"}));
    world.call(Exit{kDoc, "ada", Departure::broken});
    world.pass(4999ms);
    world.call(Enter{kDoc, "ada", {}, "2"});
    EXPECT_THAT(world.told<MembersChanged>(), IsEmpty());
    world.pass(10s);
    world.call(Exit{kDoc, "ada", Departure::broken});
    EXPECT_FALSE(world.memory.idle());
    world.pass(5s);
    EXPECT_THAT(world.told<MembersChanged>().at(0).leaves, ElementsAre("ada"));
    EXPECT_TRUE(world.memory.idle());
    EXPECT_EQ(world.memory.leaves().timeout, 1U);
}

TEST(Memory, ACleanExitLeavesAtOnceAndEqualDataIsNoUpdate) {
    MemoryWorld world;
    world.call(Enter{kDoc, "ada", {}, "1"});
    EXPECT_THAT(world.told<Entered>(), SizeIs(1));
    world.call(Listen{kDoc, kLog});
    EXPECT_THAT(world.told<MembersChanged>().at(0).joins, SizeIs(1)) << "the members follow Listening";
    world.call(Update{kDoc, "ada", "1"});
    world.call(Enter{kDoc, "ada", "1", {}});
    EXPECT_THAT(world.told<MembersChanged>(), IsEmpty());
    world.call(Enter{kDoc, "ada", "2", {}});
    EXPECT_THAT(world.told<MembersChanged>().at(0).updates, SizeIs(1));
    world.call(Exit{kDoc, "ada", Departure::clean});
    EXPECT_THAT(world.told<MembersChanged>().at(0).leaves, ElementsAre("ada"));
    world.call(Unlisten{kDoc});
    EXPECT_EQ(world.memory.channels(), 0U);
}

}  // namespace
}  // namespace starling::engine

// What a node writes of its members, call after call, against a Redis that answers when the test says so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/partition_rig.h"

namespace starling::engine {
namespace {

using namespace domain;

using testing::ElementsAre;
using testing::IsEmpty;

// Calls that carry operations wait in `asked_`; everything else is answered at once.
class PartitionWriter : public PartitionRig {
 protected:
    explicit PartitionWriter(ClusterSettings given = settings()) : PartitionRig(std::move(given)) {}
    static ClusterSettings settings() {
        ClusterSettings out = one_partition();
        out.operations_max = 4;
        return out;
    }
    void enter(const std::string& channel, const std::string& user) { call(Enter{{0, channel}, user, {}, {}}); }
    void leave(const std::string& channel, const std::string& user) { call(Exit{{0, channel}, user, Departure::clean}); }
    void cut_off(const std::string& channel, const std::string& user) { call(Exit{{0, channel}, user, Departure::broken}); }
    // "2: a +ada +bob, b +ada" for each call that waits: its sequence, its channels and their operations.
    std::vector<std::string> asked() const {
        std::vector<std::string> out;
        for (const auto& [link, words] : asked_) {
            std::string text = words[6] + ":";
            for (std::size_t i = 10; i < words.size();) {
                const std::size_t count = std::stoul(words[i + 1]);
                text += (i == 10 ? " " : ", ") + words[i].substr(words[i].find('/') + 1);
                for (std::size_t k = 0; k < count; ++k) { text += " " + words[i + 2 + 6 * k] + words[i + 3 + 6 * k]; }
                i += 2 + 6 * count;
            }
            out.push_back(text);
        }
        return out;
    }
    void answer(const std::string& status = "OK") {
        ASSERT_FALSE(asked_.empty());
        const auto [link, words] = asked_.front();
        asked_.erase(asked_.begin());
        std::vector<std::string> positions;
        for (std::size_t i = 10; i < words.size();) {
            const std::size_t count = std::stoul(words[i + 1]);
            positions.push_back(Rig::bulk("epoch"));
            positions.push_back(Rig::bulk("1"));
            for (std::size_t k = 0; k < count; ++k) {
                const std::int64_t hash = std::stoll(words[i + 4 + 6 * k]);
                if (words[i + 2 + 6 * k] != "l") { digest_ += words[i + 2 + 6 * k] == "+" ? hash : -hash; }
            }
            i += 2 + 6 * count;
        }
        if (status == "NOLEASE") { digest_ = 0; }
        give(link, lease(status, words[6], positions));
        for (const Words& next : std::exchange(behind_, {})) { serve(link, peers_.at(link), next); }
        run();
    }
    // Nobody knows what became of the calls on their way.
    void cut() {
        asked_.clear();
        behind_.clear();
        close_links();
        pass(500ms);
    }

 private:
    void serve(LinkId link, Rig::Peer& peer, const Words& words) override {
        if (!asked_.empty() && asked_.front().first == link) {
            behind_.push_back(words);
        } else if (served_as_usual(link, peer, words)) {
        } else if (is(words, scripts::apply()) && words.size() > 10) {
            asked_.emplace_back(link, words);
        } else if (is(words, scripts::reg()) || is(words, scripts::apply())) {
            give(link, lease("OK", is(words, scripts::reg()) ? "0" : words[6]));
        } else if (is(words, scripts::meta())) {
            give(link, Rig::list({Rig::bulk("")}));
        } else {
            ASSERT_TRUE(is(words, scripts::snap())) << words[1];
            give(link, snapshot(words, "", "0", ""));
        }
    }

    std::vector<std::pair<LinkId, Words>> asked_;
    std::vector<Words> behind_;              // Commands behind the one that waits.
};

TEST_F(PartitionWriter, WhatComesWhileACallIsOnItsWayGoesTogether) {
    enter("a", "ada");
    EXPECT_THAT(asked(), ElementsAre("1: a +ada"));
    enter("b", "ada");
    enter("c", "bob");
    enter("b", "bob");
    EXPECT_THAT(asked(), ElementsAre("1: a +ada"));
    answer();
    EXPECT_THAT(asked(), ElementsAre("2: b +ada +bob, c +bob"));
    leave("a", "ada");
    enter("c", "cyd");
    answer();
    EXPECT_THAT(asked(), ElementsAre("3: c +cyd, a cada"));
    answer();
    EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(PartitionWriter, ACallOfManyChannelsIsSentAgainAsItWas) {
    enter("a", "ada");
    enter("b", "ada");
    enter("c", "ada");
    answer();
    EXPECT_THAT(asked(), ElementsAre("2: b +ada, c +ada"));
    cut();
    enter("d", "ada");
    EXPECT_THAT(asked(), ElementsAre("2: b +ada, c +ada"));
    answer("DUP");                           // It was done; the reply was lost.
    EXPECT_THAT(asked(), ElementsAre("3: d +ada"));
}

TEST_F(PartitionWriter, NoCallIsLargerThanItsLimitAndNobodyWaitsForEver) {
    enter("m", "ada");
    for (const char* user : {"u1", "u2", "u3", "u4", "u5", "u6"}) { enter("a", user); }
    enter("z", "ada");
    answer();
    EXPECT_THAT(asked(), ElementsAre("2: z +ada, a +u1 +u2 +u3"));
    enter("b", "ada");
    answer();
    EXPECT_THAT(asked(), ElementsAre("3: b +ada, a +u4 +u5 +u6"));
}

TEST_F(PartitionWriter, WhoLingersIsSaidAfterWhoComes) {
    enter("a", "ada");
    answer();
    enter("b", "bob");
    cut_off("a", "ada");
    enter("c", "cyd");
    answer();
    EXPECT_THAT(asked(), ElementsAre("3: c +cyd"));
    answer();
    EXPECT_THAT(asked(), ElementsAre("4: a lada"));
    answer();
    enter("a", "ada");                       // Back: nothing was withdrawn, so nothing is said.
    EXPECT_THAT(asked(), IsEmpty());
    cut_off("a", "ada");
    EXPECT_THAT(asked(), ElementsAre("5: a lada"));
}

// R6. Her first linger was over before the farewell elsewhere; the second began after it, and stays.
TEST_F(PartitionWriter, WhatWasSaidOfAnEarlierLingerDoesNotEndThisOne) {
    enter("a", "ada");
    answer();
    cut_off("a", "ada");
    EXPECT_THAT(asked(), ElementsAre("2: a lada"));
    pass(10ms);
    enter("a", "ada");
    cut_off("a", "ada");
    answer();
    EXPECT_THAT(asked(), ElementsAre("3: a lada"));
    announce("st:{" + make_tags(1)[0] + "}:c:default/a", "P5:epoch1:10:1:t3:m.1c3:ada8:0:0:1:0:");
    run();
    answer();
    EXPECT_THAT(asked(), IsEmpty());
}

class PartitionWriterOfShortLingers : public PartitionWriter {
 protected:
    explicit PartitionWriterOfShortLingers(ClusterSettings given = short_lingers()) : PartitionWriter(std::move(given)) {}
    static ClusterSettings short_lingers() {
        ClusterSettings out = settings();
        out.linger = 300ms;
        return out;
    }
    // A change of ada by this node, the next of the channel's chain.
    void told(const std::string& channel, int version, char op) {
        const auto field = [](const std::string& word) { return std::to_string(word.size()) + ":" + word; };
        const auto tag = [](int of) { return of == 0 ? std::string() : "t" + std::to_string(of); };
        announce("st:{" + make_tags(1)[0] + "}:c:default/" + channel,
                 "P" + field("epoch") + field(std::to_string(version)) + field(tag(version - 1)) + field(tag(version)) + field("n.1") + op +
                     field("ada") + field("0:0:1:0:"));
    }
    void ada_enters(const std::string& channel, int version, char op) {
        enter(channel, "ada");
        answer();
        told(channel, version, op);
    }
    // Her linger in z is over, and the call on its way has no room for her removal.
    void ada_is_timed_out_and_not_removed() {
        pass(3s);
        call(Listen{{0, "z"}, {.size = 0}});
        ada_enters("z", 1, 'J');
        cut_off("z", "ada");
        answer();
        enter("b", "bob");
        for (const char* user : {"u1", "u2", "u3", "u4"}) { enter("c", user); }
        pass(400ms);
        answer();
        EXPECT_THAT(asked(), ElementsAre(testing::EndsWith(" c +u1 +u2 +u3 +u4")));
    }
    void expect_a_timeout() {
        told("z", 2, 'L');
        EXPECT_EQ(cluster_.leaves().timeout, 1U);
        EXPECT_EQ(cluster_.leaves().clean, 0U);
    }
    // What this node wrote of her is removed with the incarnation that wrote it.
    void expect_a_timeout_with_the_incarnation() {
        answer("NOLEASE");
        EXPECT_THAT(asked(), ElementsAre(testing::Not(testing::HasSubstr("ada"))));
        expect_a_timeout();
    }
    // Hers is a farewell, and counted as one.
    void ada_leaves(const std::string& channel, int version) {
        leave(channel, "ada");
        answer();
        told(channel, version, 'L');
        EXPECT_EQ(cluster_.leaves().clean, 1U);
        EXPECT_EQ(cluster_.leaves().timeout, 0U);
    }
};

TEST_F(PartitionWriterOfShortLingers, WhoseLingerEndedBeforeRedisHeardOfItIsGoneLikeOthersLater) {
    call(Listen{{0, "a"}, {.size = 0}});
    enter("b", "bob");
    enter("a", "ada");
    cut_off("a", "ada");
    pass(400ms);
    answer();
    EXPECT_THAT(asked(), IsEmpty());
    ada_enters("a", 1, 'J');
    ada_leaves("a", 2);
}

// The others' `-` does not tell it; who comes and goes here later says farewell.
TEST_F(PartitionWriterOfShortLingers, WhoIsStillElsewhereWhenTheLingerEndsIsGoneLikeOthersLater) {
    pass(3s);                                // Nobody's linger ends while the node settles.
    ada_enters("a", 1, 'J');
    cut_off("a", "ada");
    answer();                                // That the user lingers.
    pass(400ms);
    EXPECT_THAT(asked(), ElementsAre("6: a -ada"));
    answer();
    told("a", 2, '-');
    ada_enters("a", 3, '+');
    ada_leaves("a", 4);
}

TEST_F(PartitionWriterOfShortLingers, WhoIsBackBeforeTheRemovalWasWrittenIsGoneLikeOthersLater) {
    ada_is_timed_out_and_not_removed();
    enter("z", "ada");
    answer();
    EXPECT_THAT(asked(), IsEmpty());
    ada_leaves("z", 2);
}

TEST_F(PartitionWriterOfShortLingers, WhoseIncarnationEndsBeforeTheRemovalWasWrittenIsTimedOut) {
    ada_is_timed_out_and_not_removed();
    expect_a_timeout_with_the_incarnation();
}

TEST_F(PartitionWriterOfShortLingers, WhoseLingerEndsAsTheIncarnationDoesIsTimedOut) {
    pass(3s);
    ada_enters("z", 1, 'J');
    cut_off("z", "ada");
    answer();
    enter("b", "bob");
    pass(400ms);
    expect_a_timeout_with_the_incarnation();
}

class PartitionWriterOfLingers : public PartitionWriterOfShortLingers {
 protected:
    PartitionWriterOfLingers() : PartitionWriterOfShortLingers(settings()) {}
};

// Behind others whose lingers are over, too, and who have no room in this call: she is found as it is her turn to be stated anew.
TEST_F(PartitionWriterOfLingers, WhoseLingerEndedUnseenBeforeHerTurnIsTimedOut) {
    pass(3s);
    ada_enters("z", 1, 'J');
    for (const char* channel : {"a", "b"}) { enter(channel, "eve"); }
    for (int i = 10; i < 42; ++i) { enter("c" + std::to_string(i), "bob"); }
    while (!asked().empty()) { answer(); }
    for (const char* channel : {"a", "b"}) { cut_off(channel, "eve"); }
    cut_off("z", "ada");
    while (!asked().empty()) { answer(); }
    enter("zz", "bob");                      // The next call begins at a.
    answer("NOLEASE");
    for (int i = 0; i < 8; ++i) {
        pass(640ms);
        answer();
    }
    EXPECT_THAT(asked(), ElementsAre(testing::Not(testing::HasSubstr("ada"))));
    EXPECT_THAT(asked(), ElementsAre(testing::HasSubstr("a -eve")));
    expect_a_timeout();
}

TEST_F(PartitionWriterOfShortLingers, WhoseEntryIsHeardOfAfterTheRemovalWasWrittenIsTimedOut) {
    pass(3s);
    enter("z", "ada");
    answer();
    cut_off("z", "ada");
    answer();
    pass(400ms);
    EXPECT_THAT(asked(), ElementsAre("6: z -ada"));
    told("z", 1, 'J');
    answer();
    expect_a_timeout();
}

TEST_F(PartitionWriter, OfThousandsWhoAreCutOffOnlySomeAreSaidAtOnce) {
    for (int i = 10; i < 40; ++i) { enter("a", "u" + std::to_string(i)); }
    while (!asked().empty()) { answer(); }
    for (int i = 10; i < 40; ++i) { cut_off("a", "u" + std::to_string(i)); }
    std::size_t said = 0;
    const auto say = [&] {
        for (; !asked().empty(); answer()) { said += static_cast<std::size_t>(std::ranges::count(asked().front(), 'l')); }
    };
    say();
    EXPECT_EQ(said, 16U);
    pass(1100ms);                            // A beat later.
    say();
    EXPECT_EQ(said, 30U);
    pass(4s);
    enter("b", "ada");                       // Who comes need not wait for all who go.
    EXPECT_THAT(asked(), ElementsAre("24: a -u10 -u11 -u12 -u13"));
    answer();
    EXPECT_THAT(asked(), ElementsAre("25: b +ada, a -u14"));
}

}  // namespace
}  // namespace starling::engine

// R4 at size: who holds those whom a suspect snapshot brought back is asked for in turns, so many channels a heartbeat.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "engine/partition_rig.h"

namespace starling::engine {
namespace {

constexpr int kChannels = 150;
constexpr std::size_t kHoldersMax = 64;      // As in partition_look.cpp.

// A server in which one user is in each channel at version 3, and whose data a failover brings back after it was told to be gone.
class PartitionHolders : public PartitionRig {
 protected:
    static std::string name(int i) { return "c" + std::to_string(i); }
    void listen_and_lose_all() {
        for (int i = 0; i < kChannels; ++i) { call(domain::Listen{{0, name(i)}, {.size = 0, .ttl = 0s}}); }
        pass(50ms);
        for (int i = 0; i < kChannels; ++i) { announce("st:{" + make_tags(1)[0] + "}:c:default/" + name(i), removal()); }
        run();
        close_links();
        helper_.runs[kOnlyServer] = "another";
        pass(1500ms);
    }
    void serve(LinkId link, Rig::Peer& peer, const Words& words) override {
        if (served_as_usual(link, peer, words)) { return; }
        const auto bulk = Rig::bulk;
        if (is(words, scripts::reg())) {
            give(link, lease("OK", "0"));
        } else if (is(words, scripts::apply())) {
            beats_.emplace_back();
            give(link, lease("OK", words[6]));
        } else if (is(words, scripts::meta())) {
            give(link, Rig::list({bulk("")}));
        } else if (is(words, scripts::holders())) {
            beats_.back().push_back(words[4]);
            give(link, Rig::list({Rig::list({bulk("m.1")})}));
        } else {
            ASSERT_TRUE(is(words, scripts::snap())) << words[1];
            std::vector<std::string> out;
            for (std::size_t i = 6; i < words.size(); i += 2) {
                out.push_back(Rig::list({bulk("epoch"), bulk("3"), bulk("t3"), bulk("7"), bulk(""), bulk("0"), bulk(""), bulk("0"), ":1\r\n",
                                         Rig::list({bulk("bob"), bulk("7:1000:1:0:")})}));
            }
            give(link, Rig::list(out));
        }
    }
    static std::string removal() {
        std::string out = "P";
        for (const std::string& word : {std::string("epoch"), std::string("4"), std::string("t3"), std::string("t4"), std::string("m.1")}) { out += field(word); }
        return out + "L" + field("bob") + field("7:1000:1:0:");
    }
    static std::string field(const std::string& word) { return std::to_string(word.size()) + ":" + word; }
    std::size_t told(std::vector<Member> domain::MembersChanged::* which) const {
        std::size_t count = 0;
        for (const auto& event : told_) {
            if (const auto* changed = std::get_if<domain::MembersChanged>(&event)) { count += (changed->*which).size(); }
        }
        return count;
    }

    std::vector<std::vector<std::string>> beats_;   // Whose holders were asked for after each.
};

TEST_F(PartitionHolders, AreAskedForInTurns) {
    listen_and_lose_all();
    const std::size_t before = told(&domain::MembersChanged::joins);
    beats_.clear();
    pass(3100ms);
    std::multiset<std::string> asked;
    std::size_t most = 0;
    for (const auto& beat : beats_) {
        most = std::max(most, beat.size());
        asked.insert(beat.begin(), beat.end());
    }
    EXPECT_EQ(most, kHoldersMax);
    EXPECT_EQ(std::set<std::string>(asked.begin(), asked.end()).size(), static_cast<std::size_t>(kChannels));
    // The one that holds them has not written since the data became doubtful; nobody is believed.
    EXPECT_EQ(told(&domain::MembersChanged::joins), before);
}

}  // namespace
}  // namespace starling::engine

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
        for (int i = 0; i < kChannels; ++i) { announce("st:{" + make_tags(1)[0] + "}:c:default/" + name(i), removal("bob", "m.1")); }
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
            for (std::size_t i = 6; i < words.size(); i += 2) { out.push_back(only_member("bob")); }
            give(link, Rig::list(out));
        }
    }
    std::size_t joins() const {
        std::size_t count = 0;
        for (const auto& event : told_) {
            if (const auto* changed = std::get_if<domain::MembersChanged>(&event)) { count += changed->joins.size(); }
        }
        return count;
    }

    std::vector<std::vector<std::string>> beats_;   // Whose holders were asked for after each.
};

TEST_F(PartitionHolders, AreAskedForInTurns) {
    other("7");
    listen_and_lose_all();
    const std::size_t before = joins();
    beats_.clear();
    pass(3100ms);
    std::set<std::string> asked;
    std::size_t most = 0;
    for (const auto& beat : beats_) {
        most = std::max(most, beat.size());
        asked.insert(beat.begin(), beat.end());
    }
    EXPECT_EQ(most, kHoldersMax);
    EXPECT_EQ(asked.size(), std::size_t{kChannels});
    EXPECT_EQ(joins(), before);              // The one that holds them has not written since the data became doubtful.
    other("8");
    pass(4s);                                // It has: three turns, and less than the hold time in all.
    EXPECT_EQ(joins(), before + kChannels);
}

}  // namespace
}  // namespace starling::engine

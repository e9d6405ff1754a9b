// R7 to R10, which only stories of the simulator need (docs/decisions/0015), with the rule and without it; and a corner of R3.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/partition_rig.h"

namespace starling::engine {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;

// A server that answers at once, and keeps what was written: "+ada", "lada", "-ada".
class PartitionRules : public PartitionRig {
 protected:
    explicit PartitionRules(Ablation off = {}) : PartitionRig(with(off)) {}
    static ClusterSettings with(Ablation off) {
        ClusterSettings out = one_partition();
        out.off = off;
        return out;
    }
    void enter(const std::string& user) { call(domain::Enter{{0, "a"}, user, {}, {}}); }
    // Her last connection broke 4.6 s ago, so her linger ends in 0.4 s.
    void let_ada_linger() {
        enter("ada");
        call(domain::Exit{{0, "a"}, "ada", domain::Departure::broken});
        pass(4600ms);
        ASSERT_THAT(written_, Contains("lada"));
        ASSERT_THAT(written_, Not(Contains("-ada")));
    }
    void cut() {
        close_links();
        pass(500ms);
    }
    // A turn, then none for so long: more than one heartbeat, and no silence yet.
    void sleep() {
        enter("bob");
        instant_ += 1050ms;
        cluster_.on_deadline(now(), out_);
        run();
    }
    // Redis loses everything while this node sleeps, for longer than a lease, over the answer to a beat.
    void sleep_through_a_flush() {
        enter("ada");
        waits_ = true;
        pass(1100ms);
        ASSERT_THAT(waiting_, Not(IsEmpty()));
        written_.clear();
        wake_after(14s);
        flushed_ = true;
        run();
        cluster_.on_deadline(now(), out_);
        run();
    }

    // From now on the server's answers lie unread; then the node wakes up, so much later, and reads them.
    void wake_after(Duration slept) {
        instant_ += slept;
        waits_ = false;
        for (const auto& [link, words] : std::exchange(waiting_, {})) { serve(link, peers_.at(link), words); }
    }

    void serve(LinkId link, Rig::Peer& peer, const Words& words) override {
        if (waits_) {
            waiting_.emplace_back(link, words);
            return;
        }
        if (served_as_usual(link, peer, words)) { return; }
        if (is(words, scripts::reg())) {
            if (std::exchange(flushed_, false)) { digest_ = 0; }
            give(link, lease("OK", "0"));
        } else if (is(words, scripts::apply())) {
            std::vector<std::string> positions;
            for (std::size_t i = 10; i < words.size(); i += 2 + 6 * std::stoul(words[i + 1])) {
                positions.push_back(Rig::bulk("epoch"));
                positions.push_back(Rig::bulk("1"));
                for (std::size_t at = i + 2; at < i + 2 + 6 * std::stoul(words[i + 1]); at += 6) {
                    written_.push_back(words[at] + words[at + 1]);
                    if (words[at] == "+") { digest_ += std::stoll(words[at + 2]); }
                    if (words[at] == "-") { digest_ -= std::stoll(words[at + 2]); }
                }
            }
            give(link, flushed_ ? Rig::list({Rig::bulk("NOLEASE")}) : lease("OK", words[6], positions));
        } else if (is(words, scripts::reap())) {
            reaped_.push_back(words[5]);
            give(link, Rig::list({Rig::bulk("MOVED")}));
        } else if (is(words, scripts::meta())) {
            give(link, Rig::list({Rig::bulk("")}));
        } else {
            ASSERT_TRUE(is(words, scripts::snap())) << words[1];
            give(link, member_.empty() || words.size() != 8 || words[6] != "default/a" ? snapshot(words, "", "0", "") : Rig::list({only_member(member_)}));
        }
    }

    std::vector<std::string> left() const {
        std::vector<std::string> out;
        for (const auto& event : told_) {
            if (const auto* changed = std::get_if<domain::MembersChanged>(&event)) { out.insert(out.end(), changed->leaves.begin(), changed->leaves.end()); }
        }
        return out;
    }

    std::string member_;                     // Of the channel; empty: none.
    std::vector<std::string> written_, reaped_;
    bool waits_ = false, flushed_ = false;
    std::vector<std::pair<LinkId, Words>> waiting_;
};

template <bool Ablation::* kRule>
class PartitionWithout : public PartitionRules {
 protected:
    PartitionWithout() : PartitionRules(off()) {}
    static Ablation off() {
        Ablation out;
        out.*kRule = true;
        return out;
    }
};
using PartitionWithoutR7 = PartitionWithout<&Ablation::r7>;
using PartitionWithoutR8 = PartitionWithout<&Ablation::r8>;
using PartitionWithoutR9 = PartitionWithout<&Ablation::r9>;
using PartitionWithoutR10 = PartitionWithout<&Ablation::r10>;

// R7. She may be back on a node that this one could not hear.
TEST_F(PartitionRules, NoLingerRunsOutJustAfterACut) {
    let_ada_linger();
    cut();
    pass(1s);
    EXPECT_THAT(written_, Not(Contains("-ada")));
    pass(3s);                                // Settled.
    EXPECT_THAT(written_, Contains("-ada"));
}

TEST_F(PartitionWithoutR7, ALingerRunsOutJustAfterACut) {
    let_ada_linger();
    cut();
    pass(1s);
    EXPECT_THAT(written_, Contains("-ada"));
}

// R10. What came during the sleep lies unread still.
TEST_F(PartitionRules, NoLingerRunsOutJustAfterASleep) {
    let_ada_linger();
    sleep();
    EXPECT_THAT(written_, Not(Contains("-ada")));
    pass(3s);
    EXPECT_THAT(written_, Contains("-ada"));
}

TEST_F(PartitionWithoutR10, ALingerRunsOutJustAfterASleep) {
    let_ada_linger();
    sleep();
    EXPECT_THAT(written_, Contains("-ada"));
}

// R8. A node that the same fault cut off gets its time to say that it is there.
TEST_F(PartitionRules, NobodyIsReapedJustAfterACut) {
    other("7");
    pass(8400ms);
    cut();
    pass(1200ms);
    EXPECT_THAT(reaped_, IsEmpty());
    other("8");
    pass(7s);
    EXPECT_THAT(reaped_, IsEmpty());
    pass(4s);                                // It does not.
    EXPECT_THAT(reaped_, Contains("m.1"));
}

TEST_F(PartitionWithoutR8, WhoWasCutOffTooIsReaped) {
    other("7");
    pass(8400ms);
    cut();
    pass(1200ms);
    EXPECT_THAT(reaped_, Contains("m.1"));
}

// R9. An answer that lay unread while this node slept for longer than a lease is no contact: when the next one says that the lease
// is gone, the others may have given up rightly whom it held. (Sim seed 38496.)
TEST_F(PartitionRules, AnAnswerReadAfterASleepIsAsOldAsItsCall) {
    sleep_through_a_flush();
    EXPECT_THAT(told_, Contains(testing::VariantWith<domain::Doubt>(testing::_)));
    EXPECT_THAT(written_, Not(Contains("+ada")));
}

TEST_F(PartitionWithoutR9, WhomASleeperHeldIsStatedUnasked) {
    sleep_through_a_flush();
    EXPECT_THAT(written_, Contains("+ada"));
}

// R3. A later incarnation of another node may mean that Redis lost data just before this one began: whom it sees may be held by a
// node that has not said so again, and be removed by one that has. (Sim seed 303165.)
TEST_F(PartitionRules, ANewcomerHoldsWhoIsRemovedWhereAnotherBeganAnew) {
    member_ = "bob";
    call(domain::Listen{{0, "a"}, {.size = 0, .ttl = 0s}});
    announce("st:" + make_tags(1)[0].insert(0, "{") + "}:c:default/a", removal(member_, "m.2"));
    run();
    EXPECT_THAT(left(), IsEmpty());
    pass(10s);
    EXPECT_THAT(left(), Contains("bob"));
}

TEST_F(PartitionRules, ANewcomerBelievesARemovalWhereNobodyBeganAnew) {
    member_ = "bob";
    call(domain::Listen{{0, "a"}, {.size = 0, .ttl = 0s}});
    announce("st:" + make_tags(1)[0].insert(0, "{") + "}:c:default/a", removal(member_, "m.1"));
    run();
    EXPECT_THAT(left(), Contains("bob"));
}

}  // namespace
}  // namespace starling::engine

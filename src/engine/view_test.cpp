#include "engine/view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time_rig.h"

namespace starling::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ViewTest : public testing::Test {
 protected:
    std::vector<std::string> told() {
        std::vector<std::string> out;
        for (const auto& member : changes_.joins) { out.push_back("+" + member.user_id); }
        for (const auto& member : changes_.updates) { out.push_back("~" + member.user_id); }
        for (const auto& user : changes_.leaves) { out.push_back("-" + user); }
        changes_ = {};
        return out;
    }
    View::Step step(std::uint64_t version, std::string kinds, const std::string& user, std::string epoch = "e") {
        Delta delta{.epoch = std::move(epoch), .version = version, .before = version == 1 ? "" : "t" + std::to_string(version - 1),
                    .tag = "t" + std::to_string(version), .iid = "n.1", .ops = {}};
        for (const char kind : kinds) { delta.ops.push_back({kind, user, {1, version, {}, member_hash("c", user)}}); }
        return view_.on_delta(delta, settings_, now_, changes_);
    }
    void snapshot(std::uint64_t version, std::vector<std::string> users, bool suspect = false, std::string epoch = "e") {
        Snapshot snapshot{{std::move(epoch), version, "t" + std::to_string(version)}, 0, {}, suspect};
        for (const auto& user : users) {
            snapshot.members[user] = {1, 1, {}, member_hash("c", user)};
            snapshot.digest += static_cast<std::int64_t>(member_hash("c", user));
        }
        view_.on_snapshot(std::move(snapshot), settings_, now_, changes_);
    }
    void pass(Duration time) {
        now_ = at(time);
        view_.on_deadline(settings_, now_, changes_);
    }

    ClusterSettings settings_;
    View view_;
    domain::MembersChanged changes_;
    Instant now_ = at(0s);
};

TEST_F(ViewTest, FollowsItsChainAndNothingElse) {
    EXPECT_EQ(step(1, "J", "ada"), View::Step::applied);
    EXPECT_THAT(told(), ElementsAre("+ada"));
    EXPECT_EQ(step(1, "J", "ada"), View::Step::duplicate);
    EXPECT_EQ(step(3, "J", "bob"), View::Step::broken);
    EXPECT_EQ(step(2, "L", "ada"), View::Step::applied);
    EXPECT_THAT(told(), ElementsAre("-ada"));
    EXPECT_EQ(view_.digest(), 0);
}

TEST_F(ViewTest, AnotherIncarnationIsNoSecondJoin) {
    step(1, "J", "ada");
    told();
    EXPECT_EQ(step(2, "+", "ada"), View::Step::applied);
    EXPECT_EQ(step(3, "-", "ada"), View::Step::applied);
    EXPECT_THAT(told(), IsEmpty());
}

TEST_F(ViewTest, ASnapshotThatContinuesRemovesAtOnce) {
    snapshot(5, {"ada", "bob"});
    told();
    snapshot(9, {"bob", "cleo"});
    EXPECT_THAT(told(), ElementsAre("+cleo", "-ada"));
}

TEST_F(ViewTest, ASuspectSnapshotHoldsWhoIsMissing) {
    snapshot(5, {"ada", "bob"});
    told();
    snapshot(1, {"bob"}, true, "other");
    EXPECT_THAT(told(), IsEmpty());
    EXPECT_TRUE(view_.shows("ada"));
    now_ = at(3s);
    step(2, "J", "ada", "other");            // Its node states it again.
    pass(20s);
    EXPECT_THAT(told(), IsEmpty());
}

TEST_F(ViewTest, WhoIsNotStatedAgainLeavesAfterTheHold) {
    snapshot(5, {"ada"});
    told();
    snapshot(1, {}, true, "other");
    pass(settings_.hold() - 1ms);
    EXPECT_THAT(told(), IsEmpty());
    pass(settings_.hold());
    EXPECT_THAT(told(), ElementsAre("-ada"));
}

TEST_F(ViewTest, AFurtherDiscontinuityHoldsForTheWholeTimeAgain) {
    snapshot(5, {"ada"});
    told();
    snapshot(1, {}, true, "other");
    view_.on_discontinuity(settings_, at(9s));
    pass(settings_.hold());
    EXPECT_THAT(told(), IsEmpty());
    pass(9s + settings_.hold());
    EXPECT_THAT(told(), ElementsAre("-ada"));
}

TEST_F(ViewTest, ASuspectSnapshotDoesNotBringBackWhoWasRemoved) {
    step(1, "J", "ada");
    step(2, "L", "ada");
    told();
    snapshot(1, {"ada"}, true, "e");         // A failover lost the removal.
    EXPECT_THAT(told(), IsEmpty());
    EXPECT_FALSE(view_.shows("ada"));
    step(2, "+", "ada");                     // Confirmed by the chain.
    EXPECT_THAT(told(), ElementsAre("+ada"));
}

// A removal that was learned from a snapshot, after a break of the chain, may be lost as well as any other.
TEST_F(ViewTest, ASuspectSnapshotDoesNotBringBackWhomAnotherSnapshotLacked) {
    snapshot(5, {"ada", "bob"});
    snapshot(9, {"bob"});
    told();
    snapshot(8, {"ada", "bob"}, true);
    EXPECT_THAT(told(), IsEmpty());
    EXPECT_THAT(view_.unconfirmed(10), ElementsAre("ada"));
}

TEST_F(ViewTest, NorWhoWasHeldInVain) {
    snapshot(5, {"ada"});
    snapshot(1, {}, true, "other");
    pass(settings_.hold());
    EXPECT_THAT(told(), ElementsAre("+ada", "-ada"));
    snapshot(6, {"ada"}, true, "e");         // An older world is back.
    EXPECT_THAT(told(), IsEmpty());
}

TEST_F(ViewTest, WhatIsNeverConfirmedAndNeverRemovedComesBackInTheEnd) {
    step(1, "J", "ada");
    step(2, "L", "ada");
    snapshot(1, {"ada"}, true, "e");
    told();
    pass(settings_.tombstone);
    EXPECT_THAT(told(), ElementsAre("+ada"));
}

// R4. The second snapshot after a failover holds the same data as the first: it proves nothing.
TEST_F(ViewTest, AnotherSnapshotOfTheSameDataConfirmsNobody) {
    step(1, "J", "ada");
    step(2, "L", "ada");
    told();
    snapshot(1, {"ada"}, true, "e");
    snapshot(1, {"ada"}, false, "e");
    EXPECT_THAT(told(), IsEmpty());
    step(2, "L", "ada");                     // The others end what was lost.
    EXPECT_THAT(told(), IsEmpty());
}

TEST_F(ViewTest, WhoIsHeldByALiveNodeIsConfirmedOnce) {
    step(1, "J", "ada");
    step(2, "L", "ada");
    told();
    EXPECT_THAT(view_.unconfirmed(10), IsEmpty());
    snapshot(1, {"ada", "bob"}, true, "e");
    EXPECT_THAT(told(), ElementsAre("+bob"));
    EXPECT_EQ(view_.suspected_at(), now_);
    EXPECT_THAT(view_.unconfirmed(10), ElementsAre("ada"));
    EXPECT_THAT(view_.unconfirmed(0), IsEmpty());
    view_.confirm("ada", changes_);
    view_.confirm("ada", changes_);
    view_.confirm("nobody", changes_);
    EXPECT_THAT(told(), ElementsAre("+ada"));
    EXPECT_THAT(view_.unconfirmed(10), IsEmpty());
    step(2, "L", "ada");
    EXPECT_THAT(told(), ElementsAre("-ada"));
}

TEST_F(ViewTest, ALocalUserIsShownOnceAndTakenOverByTheChain) {
    view_.show_local("ada", {1, 0, {}, member_hash("c", "ada")}, changes_);
    EXPECT_THAT(told(), ElementsAre("+ada"));
    snapshot(4, {"bob"});
    EXPECT_THAT(told(), ElementsAre("+bob"));
    step(5, "J", "ada");
    EXPECT_THAT(told(), IsEmpty());
    view_.drop_local("ada", true, changes_);   // No longer local: the chain ends it.
    EXPECT_THAT(told(), IsEmpty());
}

TEST_F(ViewTest, AnEmptyChannelBeginsAnewWithoutDoubt) {
    step(1, "J", "ada", "old");
    step(2, "L", "ada", "old");
    told();
    EXPECT_EQ(step(1, "J", "bob", "new"), View::Step::applied);
    EXPECT_THAT(told(), ElementsAre("+bob"));
}

// R3. What this node does for a user of its own says nothing of the nodes that may hold the user, too. (Sim seed 1285346.)
TEST_F(ViewTest, DoubtsWhomThisNodeShowsAfterALoss) {
    snapshot(1, {"bob"});
    view_.on_loss(now_, now_ + settings_.hold());
    told();
    view_.show_local("ada", {1, 0, {}, member_hash("c", "ada")}, changes_);
    EXPECT_THAT(told(), ElementsAre("+ada"));
    EXPECT_EQ(step(2, "J", "ada"), View::Step::applied);
    EXPECT_EQ(step(3, "L", "ada"), View::Step::applied);
    EXPECT_THAT(told(), IsEmpty());
    EXPECT_TRUE(view_.shows("ada"));
    pass(settings_.hold());
    EXPECT_THAT(told(), ElementsAre("-ada"));
}

}  // namespace
}  // namespace starling::engine

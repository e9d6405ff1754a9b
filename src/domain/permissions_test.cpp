#include "domain/permissions.h"

#include <gtest/gtest.h>

namespace starling::domain {
namespace {

constexpr Rights kSubscribe = static_cast<Rights>(Right::subscribe);
constexpr Rights kPublish = static_cast<Rights>(Right::publish);
constexpr Rights kPresence = static_cast<Rights>(Right::presence);

Grants grants(std::vector<std::pair<std::string, std::vector<std::string>>> can,
              std::vector<std::string> channels = {}) {
    codec::jwt::Claims claims;
    claims.can = std::move(can);
    claims.channels = std::move(channels);
    return Grants(claims);
}

TEST(Grants, CostOnePointerWhereThereAreNone) {
    static_assert(sizeof(Grants) == sizeof(void*));
    EXPECT_TRUE(Grants().empty());
    EXPECT_TRUE(grants({}).empty());
    EXPECT_TRUE(grants({{"doc:1", {"fly"}}}).empty());
    EXPECT_EQ(Grants().rights("doc:1"), 0);
}

TEST(Grants, MatchExactNamesOnly) {
    const Grants some = grants({{"doc:42", {"subscribe"}}});
    EXPECT_EQ(some.rights("doc:42"), kSubscribe);
    EXPECT_EQ(some.rights("doc:4"), 0);
    EXPECT_EQ(some.rights("doc:420"), 0);
    EXPECT_EQ(some.rights("Doc:42"), 0);
    EXPECT_EQ(some.rights(""), 0);
}

TEST(Grants, AStarAtTheEndMatchesAnyRestAlsoWithColons) {
    const Grants some = grants({{"doc:*", {"publish"}}});
    EXPECT_EQ(some.rights("doc:1"), kPublish);
    EXPECT_EQ(some.rights("doc:1:2"), kPublish);
    EXPECT_EQ(some.rights("doc:"), kPublish);
    EXPECT_EQ(some.rights("doc"), 0);
    EXPECT_EQ(some.rights("docs:1"), 0);
    EXPECT_EQ(grants({{"*", {"subscribe"}}}).rights("anything"), kSubscribe);
}

TEST(Grants, AStarAnywhereElseIsALetter) {
    const Grants inner = grants({{"a*b", {"subscribe"}}, {"**", {"publish"}}});
    EXPECT_EQ(inner.rights("a*b"), kSubscribe);
    EXPECT_EQ(inner.rights("axb"), 0);
    EXPECT_EQ(inner.rights("*anything"), kPublish);
    EXPECT_EQ(inner.rights("x"), 0);
    const Grants exact = grants({{"doc:1", {"subscribe"}}});
    EXPECT_EQ(exact.rights("doc:*"), 0);
    EXPECT_EQ(exact.rights("*"), 0);
}

TEST(Grants, UniteAllThatMatch) {
    const Grants some = grants({{"doc:*", {"publish"}}, {"doc:1", {"presence"}}, {"*", {"typing"}}}, {"doc:1", "x"});
    EXPECT_EQ(some.rights("doc:1"), kPublish | kPresence | kSubscribe | static_cast<Rights>(Right::typing));
    EXPECT_EQ(some.rights("x"), kSubscribe | static_cast<Rights>(Right::typing));
}

TEST(Effective, IsTheUnionOfNamespaceTokenAndChannelToken) {
    const NamespaceSettings space{.allow = kSubscribe};
    EXPECT_EQ(effective(space, grants({{"doc:*", {"publish"}}}), kPresence, "doc:1"), kAllRights & 7);
    EXPECT_EQ(effective(space, Grants(), 0, "doc:1"), kSubscribe);
}

TEST(Effective, LeavesThePusherKindsToTokensAlone) {
    const NamespaceSettings open{.allow = kAllRights};
    EXPECT_EQ(effective(open, Grants(), 0, "private-x"), 0);
    EXPECT_EQ(effective(open, Grants(), 0, "presence-x"), 0);
    EXPECT_EQ(effective(open, Grants(), 0, "private-encrypted-x"), 0);
    EXPECT_EQ(effective(open, Grants(), 0, "private"), kAllRights);
    EXPECT_EQ(effective(open, grants({{"*", {"subscribe"}}}), 0, "private-x"), kSubscribe);
    EXPECT_EQ(effective(open, Grants(), kPublish, "presence-x"), kPublish);
    EXPECT_EQ(effective(open, grants({}, {"private-x"}), 0, "private-x"), kSubscribe);
}

TEST(Effective, IsNothingInServerToUserChannels) {
    const NamespaceSettings open{.allow = kAllRights};
    EXPECT_EQ(effective(open, grants({{"*", {"subscribe"}}}), kAllRights, "#server-to-user-ada"), 0);
}

}  // namespace
}  // namespace starling::domain

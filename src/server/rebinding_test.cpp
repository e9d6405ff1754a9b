#include "server/rebinding.h"

#include <gtest/gtest.h>

namespace starling::server {
namespace {

TEST(Rebinding, AForeignNameForALoopbackListenerGivesItAway) {
    for (const char* host : {"evil.example", "evil.example:8001", "localhost.evil.example", "127.0.0.1.evil.example", "", "a", "[evil]"}) {
        EXPECT_TRUE(is_rebound("127.0.0.1:8001", host)) << host;
        EXPECT_TRUE(is_rebound("[::1]:8001", host)) << host;
        EXPECT_TRUE(is_rebound("localhost:8001", host)) << host;
    }
}

TEST(Rebinding, AddressesAndLocalhostAreThisMachine) {
    for (const char* host : {"127.0.0.1:8001", "127.0.0.1", "[::1]:8001", "localhost", "LOCALHOST:8001", "192.0.2.1"}) {
        EXPECT_FALSE(is_rebound("127.0.0.1:8001", host)) << host;
    }
}

TEST(Rebinding, AListenerThatTheNetworkReachesHasNamesThatWeDoNotKnow) {
    EXPECT_FALSE(is_rebound("0.0.0.0:8001", "node1.internal:8001"));
    EXPECT_FALSE(is_rebound("10.0.0.5:8001", "node1.internal:8001"));
    EXPECT_FALSE(is_rebound(":8001", "node1.internal"));
    EXPECT_FALSE(is_rebound("[::]:8001", "node1.internal"));
}

}  // namespace
}  // namespace starling::server

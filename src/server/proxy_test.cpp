#include "server/proxy.h"

#include <gtest/gtest.h>

namespace starling::server {
namespace {

const std::vector<std::string> kTrusted = {"10.0.0.0/8", "192.0.2.1", "2001:db8::/32"};

TEST(Proxy, BelievesOnlyTrustedOnes) {
    EXPECT_EQ(client_address("203.0.113.9", "198.51.100.1", kTrusted), "203.0.113.9");
    EXPECT_EQ(client_address("192.0.2.1", "198.51.100.1", kTrusted), "198.51.100.1");
    EXPECT_EQ(client_address("192.0.2.2", "198.51.100.1", kTrusted), "192.0.2.2");
    EXPECT_EQ(client_address("2001:db8::5", "198.51.100.1", kTrusted), "198.51.100.1");
    EXPECT_EQ(client_address("192.0.2.1", "", kTrusted), "192.0.2.1");
    EXPECT_EQ(client_address("192.0.2.1", "198.51.100.1", {}), "192.0.2.1");
}

TEST(Proxy, ReadsTheLineFromItsEnd) {
    // The client wrote 1.2.3.4 itself; the outer proxy added who really called it.
    EXPECT_EQ(client_address("192.0.2.1", "1.2.3.4, 198.51.100.1 , 10.1.1.1", kTrusted), "198.51.100.1");
    EXPECT_EQ(client_address("192.0.2.1", "1.2.3.4, unknown", kTrusted), "192.0.2.1");
}

TEST(Proxy, KnowsANetworkWhenItSeesOne) {
    EXPECT_TRUE(valid_network("10.0.0.0/8"));
    EXPECT_TRUE(valid_network("::1"));
    EXPECT_FALSE(valid_network("10.0.0.0/33"));
    EXPECT_FALSE(valid_network("10.0.0/8"));
    EXPECT_FALSE(valid_network("10.0.0.0/"));
    EXPECT_FALSE(valid_network("proxy.example"));
}

TEST(Proxy, CountsAnIpv6NetworkAsOneAddress) {
    EXPECT_EQ(counted_network("192.0.2.1"), "192.0.2.1");
    EXPECT_EQ(counted_network("2001:db8:1:2::5"), "2001:db8:1:2::/64");
    EXPECT_EQ(counted_network("2001:db8:1:2:ffff:ffff:ffff:ffff"), "2001:db8:1:2::/64");
    EXPECT_EQ(counted_network("2001:db8:1:3::5"), "2001:db8:1:3::/64");
    EXPECT_EQ(counted_network("::ffff:192.0.2.1"), "192.0.2.1");
    EXPECT_EQ(counted_network(""), "");
}

}  // namespace
}  // namespace starling::server

#include "server/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/cli_token.h"

namespace starling::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(Cli, TakesConfigurationFlagsOutOfTheArguments) {
    std::vector<std::string> arguments = {"serve", "--server.listen=a:1", "--dev", "--limits.queue_bytes", "5", "--can", "a.b=publish"};
    EXPECT_THAT(take_config_flags(arguments), ElementsAre(Pair("server.listen", "a:1"), Pair("limits.queue_bytes", "5")));
    EXPECT_THAT(arguments, ElementsAre("serve", "--dev", "--can", "a.b=publish"));
}

TEST(Token, SaysPatternsAndRights) {
    const MintRequest request{.sub = "al\"ice", .can = {"doc:*=subscribe,presence", "a=b=publish"}, .ttl = "1h", .channels = {"doc:1"}, .info = "{\"n\":1}"};
    EXPECT_EQ(make_claims(request, 1000, "", "me").value(),
              R"({"sub":"al\"ice","iat":1000,"exp":4600,"iss":"me","can":{"doc:*":["subscribe","presence"],"a=b":["publish"]},"channels":["doc:1"],"info":{"n":1}})");
}

TEST(Token, SaysTheRightsOfOneChannel) {
    const MintRequest request{.sub = "a", .can = {"subscribe,history"}, .channel = "doc:1"};
    EXPECT_EQ(make_claims(request, 1, "gateway", "").value(), R"({"sub":"a","iat":1,"aud":"gateway","channel":"doc:1","can":["subscribe","history"]})");
}

TEST(Token, RefusesWhatNoGatewayWouldTake) {
    EXPECT_THAT(make_claims({.sub = "a", .can = {"doc:*=read"}}, 1, "", "").error(), HasSubstr("\"read\" is none of"));
    EXPECT_THAT(make_claims({.sub = "a", .can = {"doc:*"}}, 1, "", "").error(), HasSubstr("PATTERN=RIGHT"));
    EXPECT_THAT(make_claims({.sub = "a", .ttl = "soon"}, 1, "", "").error(), HasSubstr("90s"));
    EXPECT_THAT(make_claims({.sub = "a", .channel = "c"}, 1, "", "").error(), HasSubstr("--can"));
    EXPECT_FALSE(parse_ttl("0s"));
    EXPECT_FALSE(parse_ttl("h"));
    EXPECT_EQ(parse_ttl("7d").value(), 604800);
}

}  // namespace
}  // namespace starling::server

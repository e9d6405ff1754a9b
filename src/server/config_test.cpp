#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace starling::server {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Config good(std::string_view text, const ConfigSources& sources = {}) {
    auto config = parse_config(text, "test.toml", sources);
    if (!config) {
        ADD_FAILURE() << config.error().front();
        return {};
    }
    return *config;
}

ConfigErrors bad(std::string_view text, const ConfigSources& sources = {}) {
    auto config = parse_config(text, "test.toml", sources);
    return config ? ConfigErrors{} : config.error();
}

TEST(Config, IsTheContractsDefaultsWhenNothingIsSaid) {
    const Config config = good("");
    EXPECT_EQ(config.server.listen, "0.0.0.0:8000");
    EXPECT_EQ(config.limits.frame_bytes, 131072);
    EXPECT_EQ(config.limits.recover_bytes, 4 * 1048576);
    EXPECT_FALSE(config.development);
    EXPECT_THAT(config.apps, IsEmpty());
}

TEST(Config, TakesTheLaterOfFileEnvironmentAndFlags) {
    const std::string_view file = "[server]\nlisten = \"127.0.0.1:1\"\nshards = 1\ndrain = { delay_ms = 7 }\n";
    const Config config = good(file, {.environment = {{"STARLING_SERVER_LISTEN", "127.0.0.1:2"}, {"STARLING_SERVER_SHARDS", "2"},
                                                      {"STARLING_SERVER_DRAIN_WINDOW_MS", "9"}, {"STARLING_BINARY", "x"}},
                                      .flags = {{"server.listen", "127.0.0.1:3"}, {"server.allowed_origins", "https://a.example,https://b.example"}}});
    EXPECT_EQ(config.server.listen, "127.0.0.1:3");
    EXPECT_EQ(config.server.shards, 2);
    EXPECT_EQ(config.server.drain_delay_ms, 7);
    EXPECT_EQ(config.server.drain_window_ms, 9);
    EXPECT_THAT(config.server.allowed_origins, ElementsAre("https://a.example", "https://b.example"));
}

TEST(Config, SuggestsTheNearestForAnUnknownKey) {
    EXPECT_THAT(bad("[limits]\nqueue_byte = 1\n"), ElementsAre("test.toml:2: limits.queue_byte: unknown key, did you mean limits.queue_bytes?"));
    EXPECT_THAT(bad("[limit]\nqueue_bytes = 1\n"), ElementsAre(HasSubstr("limit: unknown key, did you mean limits?")));
    EXPECT_THAT(bad("[server.drain]\ndelay = 1\n"), ElementsAre(HasSubstr("did you mean server.drain.delay_ms?")));
    EXPECT_THAT(bad("", {.environment = {{"STARLING_SERVER_LISTN", ""}}}), ElementsAre(HasSubstr("did you mean STARLING_SERVER_LISTEN?")));
    EXPECT_THAT(bad("", {.flags = {{"server.lisen", ""}}}), ElementsAre(HasSubstr("did you mean --server.listen?")));
    EXPECT_THAT(bad("[[apps]]\nid = \"a\"\napi_key = []\n"), ElementsAre(HasSubstr("did you mean apps[0].api_keys?")));
}

TEST(Config, NamesTheRangeAndThePlaceOfAWrongValue) {
    EXPECT_THAT(bad("[server]\nping_interval_s = 0\n"), ElementsAre("test.toml:2: server.ping_interval_s: must be an integer from 1 to 3600"));
    EXPECT_THAT(bad("[limits]\nframes_per_second = \"many\"\n"), ElementsAre(HasSubstr("must be a number from")));
    EXPECT_THAT(bad("[limits]\nframes_per_second = nan\n"), ElementsAre(HasSubstr("must be a number from")));
    EXPECT_THAT(bad("server = 3\n"), ElementsAre(HasSubstr("must be a table")));
    EXPECT_THAT(bad("[server\n"), ElementsAre(HasSubstr("test.toml:1:")));
    EXPECT_THAT(bad("[engine]\ntype = \"memory|redis\"\n"), ElementsAre(HasSubstr("none of memory|redis")));
    EXPECT_THAT(bad("", {.flags = {{"limits.frame_bytes", "12x"}}}), ElementsAre(HasSubstr("--limits.frame_bytes: must be an integer")));
    EXPECT_THAT(bad("", {.flags = {{"server.listen", "localhost"}}}), ElementsAre(HasSubstr("host:port")));
}

TEST(Config, RefusesWhatTheLibraryOnlyAsserts) {
    EXPECT_THAT(bad("[server]\nshards = 1\n[[[apps]]]\n"), ElementsAre("test.toml:3: is not TOML"));
    EXPECT_THAT(bad("[$x]\n"), ElementsAre("test.toml:1: is not TOML"));
    EXPECT_THAT(bad(std::string_view("a = 1\n[\0]\n", 10)), ElementsAre("test.toml:2: a control character"));
    EXPECT_THAT(bad("# \xff\n"), ElementsAre("test.toml: is not UTF-8"));
    EXPECT_THAT(bad("[server]\r\nshards = 1\r\n"), IsEmpty());
}

TEST(Config, TellsEverythingThatIsWrongAtOnce) {
    EXPECT_EQ(bad("[server]\nshards = -1\nxyzzyq = 1\n[limits]\nqueue_bytes = 0\n").size(), 3U);
}

TEST(Config, ReadsAppsWithKeysAndNamespaces) {
    const Config config = good(R"(
        [[apps]]
        id = "shop"
        key = "k"
        secret = "s"
        api_keys = ["one", "two"]
          [[apps.token_keys]]
          algorithm = "HS256"
          secret = "0123456789abcdef0123456789abcdef"
          audience = "gateway"
          require_exp = true
          [[apps.namespaces]]
          name = "doc"
          allow = ["subscribe", "history"]
          history = { size = 5, ttl_s = 60 }
          slow_consumer = "latest"
          [[apps.namespaces]]
          name = "price"
          conflate_ms = 100)");
    ASSERT_EQ(config.apps.size(), 1U);
    const AppConfig& app = config.apps[0];
    EXPECT_THAT(app.api_keys, ElementsAre("one", "two"));
    EXPECT_EQ(app.token_keys.at(0).audience, "gateway");
    EXPECT_TRUE(app.token_keys[0].require_exp);
    ASSERT_EQ(app.namespaces.size(), 2U);
    EXPECT_EQ(app.namespaces[0].allow, 17);
    EXPECT_EQ(app.namespaces[0].history_size, 5U);
    EXPECT_EQ(app.namespaces[0].history_ttl, 60s);
    EXPECT_EQ(app.namespaces[0].slow_consumer, domain::SlowConsumer::latest);
    EXPECT_EQ(app.namespaces[1].conflate, 100ms);
}

TEST(Config, RefusesWhatContradictsItself) {
    EXPECT_THAT(bad("[[apps]]\nid=\"a\"\n[[apps]]\nid=\"a\"\n"), ElementsAre(HasSubstr("apps[1]: an app is called \"a\" already")));
    EXPECT_THAT(bad("[[apps]]\nid=\"a\"\n[[apps.namespaces]]\nname=\"d\"\n[[apps.namespaces]]\nname=\"d\"\n"),
                ElementsAre(HasSubstr("namespaces[1]: a namespace of this app is called \"d\" already")));
    EXPECT_THAT(bad("[[apps]]\nid=\"a\"\n[[apps.namespaces]]\nconflate_ms=1\nhistory={size=1}\n"), ElementsAre(HasSubstr("not both")));
    EXPECT_THAT(bad("[[apps]]\nid=\"a\"\n[[apps.namespaces]]\nallow=[\"read\"]\n"), ElementsAre(HasSubstr("\"read\" is none of")));
    EXPECT_THAT(bad("[[apps]]\nid=\"a\"\n[[apps.token_keys]]\nalgorithm=\"HS256\"\nsecret=\"short\"\n"), ElementsAre(HasSubstr("at least 32 bytes")));
    EXPECT_THAT(bad("[[apps]]\nid=\"a\"\n[[apps.token_keys]]\nalgorithm=\"none\"\n"), ElementsAre(HasSubstr("none that is known")));
    EXPECT_THAT(bad("[[apps]]\nid=\"a\"\n[[apps.token_keys]]\nalgorithm=\"RS256\"\nsecret=\"0123456789abcdef0123456789abcdef\"\n"),
                ElementsAre(HasSubstr("wants a public key")));
    EXPECT_THAT(bad("[cluster]\nlease_ms = 8000\n"), ElementsAre(HasSubstr("cluster.lease_ms")));
    EXPECT_THAT(bad("[[apps]]\nid=\"a\"\nsecret_file=\"/nowhere/at/all\"\n"), ElementsAre(HasSubstr("cannot read /nowhere/at/all")));
}

TEST(Config, TrustsAndAllowsEverythingInDevelopmentMode) {
    const Config config = good("", {.development = true});
    EXPECT_TRUE(config.development);
    ASSERT_EQ(config.apps.size(), 1U);
    EXPECT_EQ(config.apps[0].id, "default");
    EXPECT_THAT(config.apps[0].api_keys, ElementsAre("dev"));
    ASSERT_EQ(config.apps[0].namespaces.size(), 1U);
    EXPECT_EQ(config.apps[0].namespaces[0].allow, domain::kAllRights);
    EXPECT_EQ(config.apps[0].namespaces[0].history_size, 100U);
    EXPECT_EQ(config.apps[0].namespaces[0].history_ttl, 3600s);
}

TEST(Config, KeepsADefaultNamespaceThatTheFileGivesInDevelopmentMode) {
    const Config config = good("[[apps]]\nid=\"default\"\n[[apps.namespaces]]\nname=\"\"\nallow=[\"subscribe\"]\n", {.development = true});
    ASSERT_EQ(config.apps.at(0).namespaces.size(), 1U);
    EXPECT_EQ(config.apps[0].namespaces[0].allow, 1);
}

TEST(Config, PrintsWhatLoadsAgainWithoutItsSecrets) {
    const Config config = good(R"(
        [redis]
        url = "redis://:password@127.0.0.1"
        [[apps]]
        id = "a"
        api_keys = ["my-api-key"]
          [[apps.namespaces]]
          name = "q\"uote"
          history = { size = 5 })");
    const std::string printed = print_config(config);
    EXPECT_EQ(printed.find("password"), std::string::npos);
    EXPECT_EQ(printed.find("my-api-key"), std::string::npos);
    const Config again = good(printed);
    EXPECT_EQ(again.apps.at(0).namespaces.at(0).name, "q\"uote");
    EXPECT_EQ(again.apps[0].namespaces[0].history_ttl, 86400s);
    EXPECT_EQ(print_config(good(print_default_config())), print_config(good("")));
}

TEST(Config, TakesTheAddressOfRedisApart) {
    EXPECT_EQ(good("[engine]\ntype = \"redis\"\n").engine.type, "redis");
    EXPECT_THAT(bad("[engine]\ntype = \"redis\"\n[redis]\nurl = \"http://secret@x\"\n"),
                ElementsAre(AllOf(testing::StartsWith("redis.url: must"), Not(HasSubstr("secret")))));
    EXPECT_THAT(bad("[redis]\nprefix = \"a{b\"\n"), ElementsAre(HasSubstr("redis.prefix")));
}

TEST(Config, AnAppKeepsItsPlaceAcrossReloads) {
    const auto apps = [](std::initializer_list<const char*> ids) {
        std::vector<AppConfig> out;
        for (const char* id : ids) {
            out.emplace_back().id = id;
            out.back().api_keys = {"key"};
        }
        return out;
    };
    auto next = apps({"new", "c", "a"});
    keep_places(apps({"a", "b", "c"}), next);
    EXPECT_THAT(next, ElementsAre(Field(&AppConfig::id, "a"), Field(&AppConfig::id, "b"), Field(&AppConfig::id, "c"), Field(&AppConfig::id, "new")));
    EXPECT_TRUE(next[1].removed);
    EXPECT_THAT(next[1].api_keys, IsEmpty());
    EXPECT_FALSE(next[0].removed || next[2].removed || next[3].removed);
    // It comes back to its place.
    auto again = apps({"b"});
    keep_places(next, again);
    EXPECT_FALSE(again.at(1).removed);
    EXPECT_EQ(again.size(), 4U);
    EXPECT_TRUE(again[0].removed && again[2].removed && again[3].removed);
}

TEST(Config, ReadsEndpoints) {
    EXPECT_EQ(parse_endpoint("[::1]:80")->host, "::1");
    EXPECT_EQ(parse_endpoint(":80")->host, "0.0.0.0");
    EXPECT_EQ(parse_endpoint("a:65535")->port, 65535);
    EXPECT_FALSE(parse_endpoint("a:65536"));
    EXPECT_FALSE(parse_endpoint("a:"));
}

}  // namespace
}  // namespace starling::server

#include "server/redis_url.h"

#include <gmock/gmock.h>

namespace starling::server {
namespace {

using engine::RedisSettings;
using testing::HasSubstr;
using testing::Not;

RedisSettings parsed(std::string_view url) {
    auto settings = parse_redis_url(url);
    EXPECT_TRUE(settings) << url << ": " << (settings ? "" : settings.error());
    return settings.value_or(RedisSettings{});
}

std::string refusal(std::string_view url) {
    const auto settings = parse_redis_url(url);
    EXPECT_FALSE(settings) << url;
    return settings ? "" : settings.error();
}

std::string servers(const RedisSettings& settings) {
    std::string out;
    for (const auto& server : settings.servers) { out += server.host + ' ' + std::to_string(server.port) + ';'; }
    return out;
}

TEST(RedisUrl, KnowsAllForms) {
    RedisSettings settings = parsed("redis://127.0.0.1:6380");
    EXPECT_EQ(settings.form, RedisSettings::Form::standalone);
    EXPECT_EQ(servers(settings), "127.0.0.1 6380;");
    EXPECT_FALSE(settings.tls);
    settings = parsed("rediss://cache.example/2");
    EXPECT_EQ(servers(settings), "cache.example 6379;");
    EXPECT_TRUE(settings.tls);
    EXPECT_EQ(settings.database, 2U);
    settings = parsed("redis+sentinel://a:26380,b/main");
    EXPECT_EQ(settings.form, RedisSettings::Form::sentinel);
    EXPECT_EQ(servers(settings), "a 26380;b 26379;");
    EXPECT_EQ(settings.primary, "main");
    EXPECT_EQ(parsed("rediss+sentinel://a/main/4").database, 4U);
    settings = parsed("redis+cluster://a:7000,[::1]:7001,c");
    EXPECT_EQ(settings.form, RedisSettings::Form::cluster);
    EXPECT_EQ(servers(settings), "a 7000;::1 7001;c 6379;");
    EXPECT_TRUE(parsed("rediss+cluster://a").tls);
}

TEST(RedisUrl, TakesUserAndPassword) {
    RedisSettings settings = parsed("redis://:p%40ss%2Fw%3A@host");
    EXPECT_EQ(settings.user, "");
    EXPECT_EQ(settings.password, "p@ss/w:");
    settings = parsed("redis+cluster://star:a:b@c@host,host2");
    EXPECT_EQ(settings.user, "star");
    EXPECT_EQ(settings.password, "a:b@c");
    EXPECT_EQ(servers(settings), "host 6379;host2 6379;");
}

TEST(RedisUrl, NamesWhatIsWrongAndNotThePassword) {
    EXPECT_THAT(refusal("http://host"), HasSubstr("must begin"));
    EXPECT_THAT(refusal(""), HasSubstr("must begin"));
    EXPECT_THAT(refusal("redis://"), HasSubstr("host"));
    EXPECT_THAT(refusal("redis://:6379"), HasSubstr("host"));
    EXPECT_THAT(refusal("redis://host:0"), HasSubstr("port of host"));
    EXPECT_THAT(refusal("redis://host:65536"), HasSubstr("port of host"));
    EXPECT_THAT(refusal("redis://host:63x"), HasSubstr("port of host"));
    EXPECT_THAT(refusal("redis://[::1"), HasSubstr("bracket"));
    EXPECT_THAT(refusal("redis://host/x"), HasSubstr("database"));
    EXPECT_THAT(refusal("redis://a,b"), HasSubstr("several hosts"));
    EXPECT_THAT(refusal("redis://user@host"), HasSubstr("password is missing"));
    EXPECT_THAT(refusal("redis://host?db=1"), HasSubstr("after ?"));
    EXPECT_THAT(refusal("redis+sentinel://a,b"), HasSubstr("name of the primary"));
    EXPECT_THAT(refusal("redis+cluster://a/1"), HasSubstr("database 0"));
    EXPECT_THAT(refusal("redis+cluster://a,,b"), HasSubstr("host"));
    for (const char* url : {"redis://:secret@", "redis://:secret%zz@host", "redis://:secret@host:x", "redis://:secret@host/x",
                            "redis:/:secret@host", "redis://:sec#secret@host"}) {
        EXPECT_THAT(refusal(url), Not(HasSubstr("secret"))) << url;
    }
}

}  // namespace
}  // namespace starling::server

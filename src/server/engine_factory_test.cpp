// Which engine a configuration gives, and what that engine then says to Redis.

#include "server/engine_factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/cluster.h"
#include "engine/memory.h"
#include "server/config_settings.h"
#include "server/redis_driver.h"
#include "server/resp_rig.h"
#include "server/shard_loop.h"

namespace starling::server {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

Config redis_config(const std::string& url) {
    Config config;
    config.engine.type = "redis";
    config.redis.url = url;
    config.apps.emplace_back();
    return config;
}
Runtime runtime_of(const Config& config) {
    Runtime runtime;
    runtime.config = config;
    auto settings = make_settings(config, std::string(32, 's'));
    EXPECT_TRUE(settings);
    runtime.settings = std::make_shared<const domain::Settings>(std::move(*settings));
    return runtime;
}
domain::ShardIdentity only_shard() {
    domain::ShardIdentity identity{.node_id = "node7", .address = "10.1.2.3:8000", .version = ""};
    identity.seed = 5;
    return identity;
}

TEST(EngineFactory, GivesTheEngineThatTheConfigurationNames) {
    Config config;
    EXPECT_NE(dynamic_cast<engine::Memory*>(make_engine(runtime_of(config), only_shard()).get()), nullptr);
    config = redis_config("redis://127.0.0.1:1");
    EXPECT_NE(dynamic_cast<engine::Cluster*>(make_engine(runtime_of(config), only_shard()).get()), nullptr);
}

TEST(EngineFactory, TheUrlAndTheTimesOfTheClusterGoToTheWayToRedis) {
    Config config = redis_config("rediss+sentinel://ada:pw@one:1,two:2/main/4");
    config.cluster.heartbeat_ms = 300;
    config.cluster.lease_ms = 7000;
    const auto settings = make_redis(config);
    ASSERT_TRUE(settings);
    EXPECT_EQ(settings->form, engine::RedisSettings::Form::sentinel);
    EXPECT_EQ(settings->servers.size(), 2U);
    EXPECT_EQ(settings->primary, "main");
    EXPECT_EQ(settings->password, "pw");
    EXPECT_TRUE(settings->tls);
    EXPECT_EQ(settings->heartbeat, 300ms);
    EXPECT_EQ(settings->lease, 7s);
    const auto wrong = make_redis(redis_config("redis://:pw-of-mine@host:notaport"));
    ASSERT_FALSE(wrong);
    EXPECT_THAT(wrong.error(), Not(HasSubstr("pw-of-mine")));
}

TEST(EngineFactory, MakesTlsOnlyWhereTheLinksWantIt) {
    const auto made = [](const Config& config) {
        const auto tls = make_redis_tls(config);
        return !tls ? tls.error() : *tls ? "made" : "none";
    };
    EXPECT_EQ(made(redis_config("redis://127.0.0.1:1")), "none");
    EXPECT_EQ(made(redis_config("rediss://127.0.0.1:1")), "made");
    Config unused = redis_config("rediss://127.0.0.1:1");
    unused.engine.type = "memory";
    EXPECT_EQ(made(unused), "none");
    Config lost = redis_config("rediss+cluster://127.0.0.1:1");
    lost.redis.authorities = "/no/such/file.pem";
    EXPECT_THAT(made(lost), testing::StartsWith("redis.tls.authorities: "));
}

// All that a node is told by its configuration and says to the others, as it comes over the wire.
TEST(EngineFactory, ANodeSaysOfItselfWhatItsConfigurationSays) {
    RespServer server;
    Config config = redis_config("redis://" + server.address());
    config.redis.prefix = "px";
    config.cluster.partitions = 2;
    config.cluster.heartbeat_ms = 400;
    config.cluster.lease_ms = 9000;
    config.presence.linger_ms = 4000;
    const auto engine = make_engine(runtime_of(config), only_shard());
    net::Transport transport;
    RedisDriver driver(transport, *engine, nullptr);
    const auto now = [] { return Now{Instant(std::chrono::steady_clock::now().time_since_epoch()), 1700}; };
    engine::Output output;
    engine->start(now(), output);
    // EVAL text 1 key iid address constants
    const auto registration = [&]() -> RespServer::Words {
        for (const auto& words : server.asked()) {
            if (words[0].starts_with("EVAL") && words.size() >= 7 && words[5] == "10.1.2.3:8000") { return words; }
        }
        return {};
    };
    for (const auto end = std::chrono::steady_clock::now() + 20s; registration().empty() && std::chrono::steady_clock::now() < end;) {
        driver.perform(output);
        transport.flush();
        std::vector<net::Event> events;
        transport.wait(20ms, events);
        for (const auto& event : events) { driver.on_event(event, now(), output.events); }
        engine->on_deadline(now(), output);
    }
    const auto words = registration();
    ASSERT_FALSE(words.empty());
    EXPECT_THAT(words[3], AllOf(testing::StartsWith("px:{"), testing::EndsWith("}:n")));
    EXPECT_THAT(words[4], testing::StartsWith("node7"));
    EXPECT_THAT(words[6], testing::StartsWith("2/400/9000/4000/"));
}

}  // namespace
}  // namespace starling::server

#include "server/key_store.h"

#include <gtest/gtest.h>

#include "server/eventually.h"
#include "server/http_rig.h"

namespace starling::server {
namespace {

using namespace std::chrono_literals;
using codec::jwt::Key;

constexpr std::string_view kKeyA = R"({"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})";
constexpr std::string_view kKeyB = R"({"kty":"OKP","crv":"Ed25519","kid":"b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})";

std::string set_of(std::string_view key) { return R"({"keys":[)" + std::string(key) + "]}"; }

// What was published last, for the test's thread.
class Published {
 public:
    KeyStore::Publish sink() {
        return [this](const std::vector<std::vector<Key>>& keys) {
            const std::lock_guard lock(mutex_);
            keys_ = keys;
            ++count_;
            changed_.notify_all();
        };
    }
    bool wait_for(int count) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 5s, [&] { return count_ >= count; });
    }
    int count() {
        const std::lock_guard lock(mutex_);
        return count_;
    }
    std::vector<std::vector<Key>> keys() {
        const std::lock_guard lock(mutex_);
        return keys_;
    }

 private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::vector<Key>> keys_;
    int count_ = 0;
};

JwksSource source(const Issuer& issuer, std::size_t app = 0) {
    return {.app = app, .url = issuer.url(), .algorithm = codec::jwt::Algorithm::EdDSA, .audience = "us", .issuer = "them", .require_exp = true};
}

TEST(KeyStore, PublishesWhatItFetchedWithTheConfiguredPolicy) {
    const Issuer issuer(ok(set_of(kKeyA)));
    Published published;
    const KeyStore store({source(issuer, 1)}, published.sink());
    ASSERT_TRUE(published.wait_for(1));
    const auto keys = published.keys();
    ASSERT_EQ(keys.size(), 2U);
    EXPECT_TRUE(keys[0].empty());
    ASSERT_EQ(keys[1].size(), 1U);
    EXPECT_EQ(keys[1][0].kid, "a");
    EXPECT_EQ(keys[1][0].audience, "us");
    EXPECT_EQ(keys[1][0].issuer, "them");
    EXPECT_TRUE(keys[1][0].require_exp);
    EXPECT_EQ(store.missing(), 0U);
}

TEST(KeyStore, FetchesAgainAndTellsOnlyWhatChanged) {   // T14
    Issuer issuer(ok(set_of(kKeyA)));
    Published published;
    const KeyStore store({source(issuer)}, published.sink(), {.refresh = 20ms, .gap = 10ms});
    ASSERT_TRUE(published.wait_for(1));
    ASSERT_TRUE(eventually([&] { return issuer.asked() >= 4; }));
    EXPECT_EQ(published.count(), 1);
    issuer.answer(ok(set_of(kKeyB)));
    ASSERT_TRUE(published.wait_for(2));
    ASSERT_EQ(published.keys().at(0).size(), 1U);
    EXPECT_EQ(published.keys()[0][0].kid, "b");
}

TEST(KeyStore, KeepsTheLastGoodSet) {
    Issuer issuer(ok(set_of(kKeyA)));
    Published published;
    const KeyStore store({source(issuer)}, published.sink(), {.refresh = 20ms, .gap = 10ms, .timeout = 50ms});
    ASSERT_TRUE(published.wait_for(1));
    for (const std::string& bad : {ok("nonsense"), ok(R"({"keys":[]})"), std::string("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
                                   ok(std::string(300 * 1024, ' ')), std::string("no HTTP at all\r\n\r\n"), std::string()}) {
        const int before = issuer.asked();
        issuer.answer(bad);
        ASSERT_TRUE(eventually([&] { return issuer.asked() >= before + 2; }));
    }
    EXPECT_EQ(published.count(), 1);
    EXPECT_EQ(published.keys().at(0).size(), 1U);
}

TEST(KeyStore, DoesNotFollowARedirect) {   // T7
    const Issuer elsewhere(ok(set_of(kKeyA)));
    const Issuer issuer("HTTP/1.1 302 Found\r\nLocation: " + elsewhere.url() + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    Published published;
    const KeyStore store({source(issuer)}, published.sink(), {.refresh = 20ms, .gap = 20ms});
    ASSERT_TRUE(eventually([&] { return issuer.asked() >= 2; }));
    EXPECT_EQ(elsewhere.asked(), 0);
    EXPECT_EQ(published.count(), 0);
    EXPECT_EQ(store.missing(), 1U);
}

TEST(KeyStore, ComesOnceAGapHoweverManyUnknownKeysAreShown) {   // T13
    Issuer issuer(ok(set_of(kKeyA)));
    Published published;
    KeyStore store({source(issuer)}, published.sink(), {.refresh = 1h, .gap = 300ms});
    ASSERT_TRUE(published.wait_for(1));
    issuer.answer(ok(set_of(kKeyB)));
    for (int i = 0; i < 10000; ++i) { store.on_unknown_key(); }
    EXPECT_EQ(issuer.asked(), 1);      // Within the gap nothing is fetched.
    ASSERT_TRUE(published.wait_for(2));
    EXPECT_EQ(issuer.asked(), 2);
}

TEST(KeyStore, EndsAtOnceThoughAnIssuerIsSilent) {
    const Issuer issuer("");
    Published published;
    const auto begin = std::chrono::steady_clock::now();
    {
        const KeyStore store({source(issuer)}, published.sink());
        ASSERT_TRUE(eventually([&] { return issuer.asked() == 1; }));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2500ms);
}

TEST(KeyStore, FindsTheAddressesInTheConfiguration) {
    Config config;
    config.apps.resize(2);
    config.apps[0].token_keys = {{.algorithm = "HS256", .secret = "x"}, {.algorithm = "RS256", .jwks = "/etc/keys.json"}};
    config.apps[1].token_keys = {{.algorithm = "ES256", .jwks = "https://issuer.example/keys", .audience = "us"}};
    const auto sources = jwks_sources(config);
    ASSERT_EQ(sources.size(), 1U);
    EXPECT_EQ(sources[0].app, 1U);
    EXPECT_EQ(sources[0].url, "https://issuer.example/keys");
    EXPECT_EQ(sources[0].algorithm, codec::jwt::Algorithm::ES256);
    EXPECT_EQ(sources[0].audience, "us");
    const KeyStore idle({}, [](const auto&) { FAIL(); });
    EXPECT_EQ(idle.missing(), 0U);
}

}  // namespace
}  // namespace starling::server

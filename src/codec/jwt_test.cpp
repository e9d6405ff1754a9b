#include "codec/jwt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "codec/base64.h"
#include "codec/jwt_keys.h"

namespace starling::codec::jwt {
namespace {

using testing::ElementsAre;
using testing::Pair;

constexpr std::int64_t kNow = 1'700'000'000'000;
const std::string kSecret = "0123456789abcdef0123456789abcdef";

Key hmac_key(std::string kid = {}) {
    Key key = *make_hmac_key(Algorithm::HS256, kSecret);
    key.kid = std::move(kid);
    return key;
}

std::string signed_as(std::string_view claims) { return sign_hmac(claims, Algorithm::HS256, kSecret); }

// A token whose header is what the test says, with a signature that fits it.
std::string with_header(std::string_view header, std::string_view claims = R"({"sub":"ada"})") {
    const std::string text = encode_base64url(header) + '.' + encode_base64url(claims);
    return text + '.' + encode_base64url(hmac(Algorithm::HS256, kSecret, text));
}

// "ok", or the code of the refusal.
std::string outcome(std::string_view token, const std::vector<Key>& keys = {hmac_key()}) {
    const auto claims = verify(token, keys, kNow, {});
    return claims ? "ok" : std::string(starling::name(claims.error().code));
}
std::string claims_outcome(std::string_view claims) { return outcome(signed_as(claims)); }

TEST(Jwt, ReadsTheClaimsOfAConnectionToken) {
    const auto claims = verify(signed_as(R"({ "sub":"ada", "exp":1700000001.5, "info": {"name" : "Ada"},
        "channels":["doc:1","private-x"], "can":{"doc:*":["subscribe","publish"],"*":[]}, "other":[1] })"),
                               {hmac_key()}, kNow, {});
    ASSERT_TRUE(claims.has_value()) << claims.error().message;
    EXPECT_EQ(claims->sub, "ada");
    EXPECT_EQ(claims->exp_ms, 1'700'000'001'500);
    EXPECT_EQ(claims->info, R"({"name" : "Ada"})");
    EXPECT_THAT(claims->channels, ElementsAre("doc:1", "private-x"));
    EXPECT_THAT(claims->can, ElementsAre(Pair("doc:*", ElementsAre("subscribe", "publish")), Pair("*", ElementsAre())));
    EXPECT_EQ(claims->channel, std::nullopt);
}

TEST(Jwt, ReadsTheClaimsOfAChannelToken) {
    const auto claims = verify(signed_as(R"({"sub":"ada","channel":"doc:1","can":["subscribe"]})"), {hmac_key()}, kNow, {});
    ASSERT_TRUE(claims.has_value()) << claims.error().message;
    EXPECT_EQ(claims->channel, "doc:1");
    EXPECT_THAT(claims->channel_can, ElementsAre("subscribe"));
    EXPECT_TRUE(claims->can.empty());
    EXPECT_EQ(claims->exp_ms, std::nullopt);
}

TEST(Jwt, RefusesATokenWithoutASignatureWhateverItCallsThat) {   // T1
    for (const char* algorithm : {"none", "None", "nOnE", "NONE", "", "hs256", "HS999", "HS256 "}) {
        const std::string header = std::string(R"({"alg":")") + algorithm + R"("})";
        EXPECT_EQ(outcome(with_header(header)), "unauthenticated") << algorithm;
        const std::string text = encode_base64url(header) + "." + encode_base64url(R"({"sub":"ada"})");
        EXPECT_EQ(outcome(text + "."), "unauthenticated") << algorithm;
        EXPECT_EQ(outcome(text), "unauthenticated") << algorithm;
    }
    const std::string good = signed_as(R"({"sub":"ada"})");
    EXPECT_EQ(outcome(good.substr(0, good.rfind('.') + 1)), "unauthenticated");
    EXPECT_EQ(outcome(with_header(R"({"typ":"JWT"})")), "unauthenticated");
    EXPECT_EQ(outcome(with_header(R"({"alg":null})")), "unauthenticated");
    EXPECT_EQ(outcome(with_header(R"({"alg":["HS256"]})")), "unauthenticated");
}

// What was read last is remembered by each thread, and a thread that has read none remembers nothing.
TEST(Jwt, RefusesATokenWithoutAHeaderOnAFreshThread) {
    std::string told;
    std::thread([&] { told = outcome(with_header("")); }).join();
    EXPECT_EQ(told, "unauthenticated");
    EXPECT_EQ(outcome(signed_as(R"({"sub":"ada"})")), "ok");
    EXPECT_EQ(outcome(with_header("")), "unauthenticated");
}

TEST(Jwt, LetsTheKeyDecideTheAlgorithm) {   // T3
    const std::string token = sign_hmac(R"({"sub":"ada"})", Algorithm::HS512, std::string(64, 'k'));
    EXPECT_EQ(outcome(token, {*make_hmac_key(Algorithm::HS512, std::string(64, 'k'))}), "ok");
    EXPECT_EQ(outcome(token, {*make_hmac_key(Algorithm::HS256, std::string(64, 'k'))}), "unauthenticated");
    EXPECT_EQ(outcome(token, {*make_hmac_key(Algorithm::HS384, std::string(64, 'k'))}), "unauthenticated");
    EXPECT_EQ(outcome(token, {}), "unauthenticated");
}

TEST(Jwt, RefusesHeadersThatBringOrNameAKey) {   // T4
    EXPECT_EQ(outcome(with_header(R"({"alg":"HS256"})")), "ok");
    EXPECT_EQ(outcome(with_header(R"({"alg":"HS256","x":1})")), "ok");
    for (const char* extra : {R"("jwk":{"kty":"oct","k":"AA"})", R"("jku":"https://example.org/keys")",
                              R"("x5u":"https://example.org/cert")", R"("crit":["exp"])", R"("crit":[])", R"("jwk":null)"}) {
        EXPECT_EQ(outcome(with_header(std::string(R"({"alg":"HS256",)") + extra + "}")), "unauthenticated") << extra;
    }
    // Also when the name is spelt with an escape.
    EXPECT_EQ(outcome(with_header("{\"alg\":\"HS256\",\"\\u006awk\":{}}")), "unauthenticated");
}

TEST(Jwt, LooksAKidUpInTheListAndNowhereElse) {   // T5, T6
    for (const std::string kid : {"../../dev/null", "' OR 1=1 --", "nul\\u0000", "b"}) {
        const std::string token = with_header(R"({"alg":"HS256","kid":")" + kid + "\"}");
        EXPECT_EQ(outcome(token, {hmac_key("a")}), "unauthenticated") << kid;
        EXPECT_EQ(outcome(token, {hmac_key()}), "ok") << kid;
    }
    EXPECT_EQ(outcome(with_header(R"({"alg":"HS256","kid":")" + std::string(8192, 'k') + "\"}"), {hmac_key("a")}),
              "unauthenticated");
    const std::string named = with_header(R"({"alg":"HS256","kid":"a"})");
    EXPECT_EQ(outcome(named, {hmac_key("b"), hmac_key("a")}), "ok");
    EXPECT_EQ(outcome(with_header(R"({"alg":"HS256"})"), {hmac_key("a")}), "unauthenticated");
    EXPECT_EQ(outcome(with_header(R"({"alg":"HS256","kid":7})")), "unauthenticated");
    // One kid at two issuers: each key answers for its own.
    Key first = hmac_key("a");
    first.issuer = "one";
    Key second = *make_hmac_key(Algorithm::HS256, std::string(32, 'z'));
    second.kid = "a";
    second.issuer = "two";
    EXPECT_EQ(outcome(with_header(R"({"alg":"HS256","kid":"a"})", R"({"sub":"ada","iss":"one"})"), {second, first}), "ok");
    EXPECT_EQ(outcome(with_header(R"({"alg":"HS256","kid":"a"})", R"({"sub":"ada","iss":"two"})"), {second, first}),
              "unauthenticated");
}

TEST(Jwt, KnowsWhenATokenBeginsAndEnds) {   // T8
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","exp":1700000001})"), "ok");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","exp":1700000000})"), "token_expired");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","exp":1699999999})"), "token_expired");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","exp":1700000000.001})"), "ok");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","exp":1.7000000005e9})"), "ok");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","exp":0})"), "token_expired");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","exp":253402300799})"), "ok");
    for (const char* exp : {R"("1700000001")", "-1", "-0", "1e300", "1e999", "null", "true", "[1700000001]", "1700000001000",
                            "9223372036854775807", "18446744073709551617"}) {
        EXPECT_EQ(claims_outcome(std::string(R"({"sub":"ada","exp":)") + exp + "}"), "unauthenticated") << exp;
        EXPECT_EQ(claims_outcome(std::string(R"({"sub":"ada","nbf":)") + exp + "}"), "unauthenticated") << exp;
        EXPECT_EQ(claims_outcome(std::string(R"({"sub":"ada","iat":)") + exp + "}"), "unauthenticated") << exp;
    }
    for (const std::string claim : {"nbf", "iat"}) {
        EXPECT_EQ(claims_outcome(R"({"sub":"ada",")" + claim + R"(":1700000005})"), "ok");
        EXPECT_EQ(claims_outcome(R"({"sub":"ada",")" + claim + R"(":1700000005.001})"), "unauthenticated");
        EXPECT_EQ(claims_outcome(R"({"sub":"ada",")" + claim + R"(":1})"), "ok");
    }
    Key strict = hmac_key();
    strict.require_exp = true;
    EXPECT_EQ(outcome(signed_as(R"({"sub":"ada"})"), {strict}), "unauthenticated");
    EXPECT_EQ(outcome(signed_as(R"({"sub":"ada","exp":1700000001})"), {strict}), "ok");
}

TEST(Jwt, AsksForTheConfiguredAudienceAndIssuer) {   // T9
    Key key = hmac_key();
    key.audience = "us";
    key.issuer = "them";
    const auto with = [&](std::string_view rest) { return outcome(signed_as(R"({"sub":"ada")" + std::string(rest) + "}"), {key}); };
    EXPECT_EQ(with(R"(,"aud":"us","iss":"them")"), "ok");
    EXPECT_EQ(with(R"(,"aud":["a","us"],"iss":"them")"), "ok");
    EXPECT_EQ(with(R"(,"aud":[],"iss":"them")"), "unauthenticated");
    EXPECT_EQ(with(R"(,"aud":"usx","iss":"them")"), "unauthenticated");
    EXPECT_EQ(with(R"(,"aud":["us",1],"iss":"them")"), "unauthenticated");
    EXPECT_EQ(with(R"(,"aud":{"us":1},"iss":"them")"), "unauthenticated");
    EXPECT_EQ(with(R"(,"iss":"them")"), "unauthenticated");
    EXPECT_EQ(with(R"(,"aud":"us","iss":"Them")"), "unauthenticated");
    EXPECT_EQ(with(R"(,"aud":"us","iss":["them"])"), "unauthenticated");
    EXPECT_EQ(with(R"(,"aud":"us")"), "unauthenticated");
    // Expired and wrong besides: a new one would not do, so it is not token_expired.
    EXPECT_EQ(with(R"(,"aud":"other","iss":"them","exp":1)"), "unauthenticated");
    EXPECT_EQ(with(R"(,"aud":"us","iss":"them","exp":1)"), "token_expired");
}

TEST(Jwt, HasOneSpellingOnly) {   // T10
    const std::string good = signed_as(R"({"sub":"ada"})");
    ASSERT_EQ(outcome(good), "ok");
    EXPECT_EQ(outcome(good + "="), "unauthenticated");
    EXPECT_EQ(outcome(good + " "), "unauthenticated");
    EXPECT_EQ(outcome(good + "\n"), "unauthenticated");
    EXPECT_EQ(outcome(" " + good), "unauthenticated");
    EXPECT_EQ(outcome(good + "."), "unauthenticated");
    EXPECT_EQ(outcome("." + good), "unauthenticated");
    // 32 bytes end in a letter with two spare bits: the three other spellings decode alike elsewhere.
    const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const std::size_t last = letters.find(good.back());
    for (std::size_t bits = 1; bits < 4; ++bits) {
        std::string other = good;
        other.back() = letters[last + bits];
        EXPECT_EQ(outcome(other), "unauthenticated");
    }
    // A payload that is signed and yet not canonical.
    const std::string text = encode_base64url(R"({"alg":"HS256"})") + "." + encode_base64url(R"({"sub":"ada"})") + "==";
    EXPECT_EQ(outcome(text + "." + encode_base64url(hmac(Algorithm::HS256, kSecret, text))), "unauthenticated");
}

TEST(Jwt, NoticesEveryChangedLetter) {
    const std::string good = signed_as(R"({"sub":"ada","exp":1700000001})");
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        EXPECT_EQ(outcome(bad), "unauthenticated") << i;
    }
}

TEST(Jwt, RefusesSecretsThatAreTooShort) {   // T11
    EXPECT_TRUE(make_hmac_key(Algorithm::HS256, std::string(32, 'k')).has_value());
    EXPECT_FALSE(make_hmac_key(Algorithm::HS256, std::string(31, 'k')).has_value());
    EXPECT_FALSE(make_hmac_key(Algorithm::HS512, std::string(63, 'k')).has_value());
    EXPECT_FALSE(make_hmac_key(Algorithm::HS256, "").has_value());
    EXPECT_FALSE(make_hmac_key(Algorithm::RS256, std::string(32, 'k')).has_value());
}

TEST(Jwt, LooksAtTheSizeFirst) {   // T12
    EXPECT_EQ(outcome(std::string(65536, 'A')), "unauthenticated");
    EXPECT_EQ(outcome(std::string(65536, '.')), "unauthenticated");
    const std::string token = signed_as(R"({"sub":"ada"})");
    EXPECT_TRUE(verify(token, {hmac_key()}, kNow, {.token_bytes = token.size()}).has_value());
    EXPECT_FALSE(verify(token, {hmac_key()}, kNow, {.token_bytes = token.size() - 1}).has_value());
    for (const char* text : {"", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d"}) {
        EXPECT_EQ(outcome(text), "unauthenticated") << text;
    }
}

TEST(Jwt, RefusesKeysThatComeTwice) {   // J2
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","sub":"eve"})"), "unauthenticated");
    EXPECT_EQ(claims_outcome("{\"sub\":\"ada\",\"s\\u0075b\":\"eve\"}"), "unauthenticated");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","can":{"a":["publish"],"a":[]}})"), "unauthenticated");
    EXPECT_EQ(outcome(with_header(R"({"alg":"HS256","alg":"HS256"})")), "unauthenticated");
}

TEST(Jwt, RefusesClaimsOfAnotherShape) {
    for (const char* claims :
         {"", "[]", "null", "\"ada\"", "{", R"({"sub":"ada"}x)", R"({"sub":"ada",})", R"({})", R"({"sub":""})", R"({"sub":7})",
          R"({"sub":null})", R"({"sub":"a\u0000b"})", R"({"sub":"a\nb"})", R"({"sub":"\u007f"})", R"({"sub":"\ud800"})",
          "{\"sub\":\"\xff\"}", R"({"sub":"ada","channels":"doc:1"})", R"({"sub":"ada","channels":[1]})",
          R"({"sub":"ada","channels":{}})", R"({"sub":"ada","can":["publish"]})", R"({"sub":"ada","can":"publish"})",
          R"({"sub":"ada","can":{"a":"publish"}})", R"({"sub":"ada","can":{"a":[1]}})", R"({"sub":"ada","channel":1})",
          R"({"sub":"ada","channel":"a","can":{"a":["publish"]}})", R"({"sub":"ada","can":null})"}) {
        EXPECT_EQ(claims_outcome(claims), "unauthenticated") << claims;
    }
}

TEST(Jwt, KeepsToTheLimitsOfUserAndInfo) {
    EXPECT_EQ(claims_outcome(R"({"sub":")" + std::string(255, 'a') + "\"}"), "ok");
    EXPECT_EQ(claims_outcome(R"({"sub":")" + std::string(256, 'a') + "\"}"), "unauthenticated");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","info":")" + std::string(4094, 'a') + "\"}"), "ok");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","info":")" + std::string(4095, 'a') + "\"}"), "unauthenticated");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","info":null})"), "ok");
    EXPECT_EQ(claims_outcome(R"({"sub":"ada","info":)" + std::string(1000, '[') + std::string(1000, ']') + "}"),
              "unauthenticated");
}

TEST(Jwt, InspectsWithoutAnOpinion) {
    const auto parts = inspect(with_header(R"({"alg":"none"})", R"({"sub":1})"));
    ASSERT_TRUE(parts.has_value());
    EXPECT_EQ(parts->first, R"({"alg":"none"})");
    EXPECT_EQ(parts->second, R"({"sub":1})");
    EXPECT_FALSE(inspect("a.b").has_value());
    EXPECT_FALSE(inspect("a.b.c").has_value());
}

}  // namespace
}  // namespace starling::codec::jwt

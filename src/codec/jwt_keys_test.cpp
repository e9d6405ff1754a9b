#include "codec/jwt_keys.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "codec/base64.h"

namespace starling::codec::jwt {
namespace {

constexpr std::int64_t kToday = 1'700'000'000'000;
// The payload of RFC 7515 appendix A: {"iss":"joe",...}.
constexpr std::string_view kJoe =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const unsigned char* octets(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string pem(EVP_PKEY* pkey) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, pkey);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<std::size_t>(size));
    BIO_free(bio);
    return text;
}

// Signs as a token issuer would; ECDSA's DER becomes r || s of `coordinate_size` bytes each.
std::string sign(EVP_PKEY* pkey, const char* digest, bool pss, std::string_view text, int coordinate_size = 0) {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_PKEY_CTX* settings = nullptr;
    EVP_DigestSignInit_ex(context, &settings, digest, nullptr, nullptr, pkey, nullptr);
    if (pss) {
        EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST);
    }
    std::string out(2048, '\0');
    std::size_t size = out.size();
    EXPECT_EQ(EVP_DigestSign(context, reinterpret_cast<unsigned char*>(out.data()), &size, octets(text), text.size()), 1);
    EVP_MD_CTX_free(context);
    out.resize(size);
    if (coordinate_size == 0) { return out; }
    const unsigned char* der = octets(out);
    ECDSA_SIG* signature = d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(size));
    std::string raw(static_cast<std::size_t>(2 * coordinate_size), '\0');
    auto* bytes = reinterpret_cast<unsigned char*>(raw.data());
    BN_bn2binpad(ECDSA_SIG_get0_r(signature), bytes, coordinate_size);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature), bytes + coordinate_size, coordinate_size);
    ECDSA_SIG_free(signature);
    return raw;
}

std::string text_of(std::string_view algorithm) {
    return encode_base64url(R"({"alg":")" + std::string(algorithm) + "\"}") + "." + encode_base64url(R"({"sub":"ada"})");
}

bool accepted(const std::string& text, const std::string& signature, const Key& key) {
    return verify(text + "." + encode_base64url(signature), {key}, kToday, {}).has_value();
}

TEST(JwtKeys, AgreeWithRfc7515ForHs256) {
    const auto secret = decode_base64url("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
    const std::string text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + std::string(kJoe);
    const auto signature = decode_base64url("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    EXPECT_TRUE(signature_fits(*make_hmac_key(Algorithm::HS256, *secret), text, *signature));
    EXPECT_FALSE(signature_fits(*make_hmac_key(Algorithm::HS256, *secret + "x"), text, *signature));
}

TEST(JwtKeys, AgreeWithRfc7515ForEs256) {
    const auto keys = parse_jwks(R"({"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})", Algorithm::ES256);
    ASSERT_TRUE(keys.has_value()) << keys.error();
    const std::string text = "eyJhbGciOiJFUzI1NiJ9." + std::string(kJoe);
    const auto signature = decode_base64url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    EXPECT_TRUE(signature_fits(keys->at(0), text, *signature));
    EXPECT_EQ(keys->at(0).kid, "k");
}

TEST(JwtKeys, AgreeWithRfc8037ForEd25519) {
    const auto keys = parse_jwks(R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})",
                                 Algorithm::EdDSA);
    ASSERT_TRUE(keys.has_value()) << keys.error();
    const auto signature =
        decode_base64url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    EXPECT_TRUE(signature_fits(keys->at(0), "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", *signature));
}

TEST(JwtKeys, CheckRsaInBothPaddingsAndNeverOneForTheOther) {
    const Pkey pkey(EVP_RSA_gen(2048));
    const Key plain = *make_public_key(Algorithm::RS256, pem(pkey.get()));
    const Key pss = *make_public_key(Algorithm::PS256, pem(pkey.get()));
    EXPECT_TRUE(accepted(text_of("RS256"), sign(pkey.get(), "SHA256", false, text_of("RS256")), plain));
    EXPECT_TRUE(accepted(text_of("PS256"), sign(pkey.get(), "SHA256", true, text_of("PS256")), pss));
    EXPECT_FALSE(accepted(text_of("RS256"), sign(pkey.get(), "SHA256", true, text_of("RS256")), plain));
    EXPECT_FALSE(accepted(text_of("PS256"), sign(pkey.get(), "SHA256", false, text_of("PS256")), pss));
    EXPECT_FALSE(accepted(text_of("RS256"), sign(pkey.get(), "SHA512", false, text_of("RS256")), plain));
    EXPECT_FALSE(accepted(text_of("RS256"), std::string(256, '\0'), plain));
    EXPECT_FALSE(accepted(text_of("RS256"), sign(pkey.get(), "SHA256", false, text_of("RS256")) + "x", plain));
}

TEST(JwtKeys, NeverTakeAPublicKeyForASecret) {   // T2
    const Pkey pkey(EVP_RSA_gen(2048));
    const std::string public_pem = pem(pkey.get());
    const std::string token = sign_hmac(R"({"sub":"ada"})", Algorithm::HS256, public_pem);
    EXPECT_FALSE(verify(token, {*make_public_key(Algorithm::RS256, public_pem)}, kToday, {}).has_value());
    EXPECT_FALSE(make_public_key(Algorithm::HS256, public_pem).has_value());
}

TEST(JwtKeys, RefuseWeakAndWrongKeys) {   // T11
    const Pkey small(EVP_RSA_gen(1024));
    EXPECT_FALSE(make_public_key(Algorithm::RS256, pem(small.get())).has_value());
    const Pkey p384(EVP_EC_gen("P-384"));
    EXPECT_FALSE(make_public_key(Algorithm::ES256, pem(p384.get())).has_value());
    EXPECT_TRUE(make_public_key(Algorithm::ES384, pem(p384.get())).has_value());
    EXPECT_FALSE(make_public_key(Algorithm::RS256, pem(p384.get())).has_value());
    EXPECT_FALSE(make_public_key(Algorithm::EdDSA, pem(p384.get())).has_value());
    EXPECT_FALSE(make_public_key(Algorithm::RS256, "nonsense").has_value());
    EXPECT_FALSE(make_public_key(Algorithm::RS256, "").has_value());
    EXPECT_FALSE(make_public_key(Algorithm::RS256, "-----BEGIN PRIVATE KEY-----\n").has_value());
    const std::string n = encode_base64url('\xff' + std::string(254, '\x55') + '\x01');
    const auto rsa = [&](std::string_view e) {
        return parse_jwks(R"({"keys":[{"kty":"RSA","n":")" + n + R"(","e":")" + std::string(e) + "\"}]}", Algorithm::RS256);
    };
    EXPECT_TRUE(rsa("AQAB").has_value());
    EXPECT_FALSE(rsa("AQ").has_value());   // 1
    EXPECT_FALSE(rsa("AA").has_value());   // 0
    EXPECT_FALSE(rsa("Ag").has_value());   // 2
    EXPECT_EQ(ERR_peek_error(), 0UL) << "the thread's error queue belongs to the TLS code";
}

TEST(JwtKeys, CheckEcdsaSignaturesAsRawNumbers) {   // T11
    struct Case { const char* curve; Algorithm algorithm; const char* digest; int size; };
    for (const Case& one : {Case{"P-256", Algorithm::ES256, "SHA256", 32}, Case{"P-384", Algorithm::ES384, "SHA384", 48},
                            Case{"P-521", Algorithm::ES512, "SHA512", 66}}) {
        const Pkey pkey(EVP_EC_gen(one.curve));
        const Key key = *make_public_key(one.algorithm, pem(pkey.get()));
        const std::string text = text_of(name(one.algorithm));
        const auto half = static_cast<std::size_t>(one.size);
        const std::string good = sign(pkey.get(), one.digest, false, text, one.size);
        EXPECT_TRUE(accepted(text, good, key)) << one.curve;
        EXPECT_FALSE(accepted(text, sign(pkey.get(), one.digest, false, text), key)) << "DER, " << one.curve;
        EXPECT_FALSE(accepted(text, std::string(2 * half, '\0'), key));
        EXPECT_FALSE(accepted(text, std::string(half, '\0') + good.substr(half), key));
        EXPECT_FALSE(accepted(text, good.substr(0, half) + std::string(half, '\0'), key));
        EXPECT_FALSE(accepted(text, good.substr(0, half) + std::string(half, '\xff'), key));
        EXPECT_FALSE(accepted(text, good.substr(1), key));
        EXPECT_FALSE(accepted(text, '\0' + good, key));
        EXPECT_FALSE(accepted(text, good + good, key));
    }
}

TEST(JwtKeys, CheckEd25519) {
    const Pkey pkey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    const Key key = *make_public_key(Algorithm::EdDSA, pem(pkey.get()));
    const std::string text = text_of("EdDSA");
    const std::string good = sign(pkey.get(), nullptr, false, text);
    EXPECT_TRUE(accepted(text, good, key));
    EXPECT_FALSE(accepted(text, good.substr(0, 63), key));
    EXPECT_FALSE(accepted(text, std::string(64, '\0'), key));
    EXPECT_EQ(ERR_peek_error(), 0UL);
}

TEST(JwtKeys, TakeFromAJwksWhatIsForThisAlgorithm) {
    const std::string ed = R"("kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")";
    const auto count = [](const std::string& entries) {
        const auto keys = parse_jwks(R"({"other":[],"keys":[)" + entries + "]}", Algorithm::EdDSA);
        return keys ? keys->size() : 0;
    };
    EXPECT_EQ(count("{" + ed + R"(,"use":"sig","alg":"EdDSA","key_ops":["verify"],"kid":"a"},{"kty":"oct","k":"AA"})"), 1U);
    EXPECT_EQ(count("{" + ed + R"(,"kid":"a","x5c":["x"]},{)" + ed + R"(,"kid":"b"})"), 2U);
    EXPECT_EQ(count("{" + ed + R"(,"use":"enc"})"), 0U);
    EXPECT_EQ(count("{" + ed + R"(,"alg":"ES256"})"), 0U);
    EXPECT_EQ(count("{" + ed + R"(,"key_ops":["encrypt"]})"), 0U);
    EXPECT_EQ(count(R"({"kty":"OKP","crv":"Ed25519","x":"AA"})"), 0U);
    EXPECT_EQ(count(R"(7)"), 0U);
    EXPECT_EQ(count(""), 0U);
    // A point that is not on its curve.
    EXPECT_FALSE(parse_jwks(R"({"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}]})", Algorithm::ES256).has_value());
    for (const char* text : {"", "{}", "[]", R"({"keys":{}})", R"({"keys":[)", R"({"keys":[],"keys":[]})"}) {
        EXPECT_FALSE(parse_jwks(text, Algorithm::EdDSA).has_value()) << text;
    }
}

}  // namespace
}  // namespace starling::codec::jwt

#include "codec/jwt_keys.h"

#include <algorithm>
#include <array>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

namespace starling::codec::jwt {
namespace {

enum class Family : std::uint8_t { hmac, rsa, pss, ecdsa, eddsa };

struct Row {
    Algorithm algorithm;
    std::string_view name;
    Family family;
    const char* digest;
    std::size_t digest_size;
    const char* curve;                 // ECDSA: OpenSSL's name and RFC 7518's.
    std::string_view jwk_curve;
    std::size_t coordinate_size;
};

constexpr std::array kRows{
    Row{Algorithm::HS256, "HS256", Family::hmac, "SHA256", 32, nullptr, {}, 0},
    Row{Algorithm::HS384, "HS384", Family::hmac, "SHA384", 48, nullptr, {}, 0},
    Row{Algorithm::HS512, "HS512", Family::hmac, "SHA512", 64, nullptr, {}, 0},
    Row{Algorithm::RS256, "RS256", Family::rsa, "SHA256", 32, nullptr, {}, 0},
    Row{Algorithm::RS384, "RS384", Family::rsa, "SHA384", 48, nullptr, {}, 0},
    Row{Algorithm::RS512, "RS512", Family::rsa, "SHA512", 64, nullptr, {}, 0},
    Row{Algorithm::PS256, "PS256", Family::pss, "SHA256", 32, nullptr, {}, 0},
    Row{Algorithm::PS384, "PS384", Family::pss, "SHA384", 48, nullptr, {}, 0},
    Row{Algorithm::PS512, "PS512", Family::pss, "SHA512", 64, nullptr, {}, 0},
    Row{Algorithm::ES256, "ES256", Family::ecdsa, "SHA256", 32, "prime256v1", "P-256", 32},
    Row{Algorithm::ES384, "ES384", Family::ecdsa, "SHA384", 48, "secp384r1", "P-384", 48},
    Row{Algorithm::ES512, "ES512", Family::ecdsa, "SHA512", 64, "secp521r1", "P-521", 66},
    Row{Algorithm::EdDSA, "EdDSA", Family::eddsa, nullptr, 0, nullptr, "Ed25519", 32},
};

const Row& row(Algorithm algorithm) { return kRows[static_cast<std::size_t>(algorithm)]; }

const unsigned char* octets(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

// OpenSSL leaves its failures in a queue of the thread, where the TLS code would take them for its
// own. Everything here that may fail runs between two marks.
class ErrorScope {
 public:
    ErrorScope() { ERR_set_mark(); }
    ~ErrorScope() { ERR_pop_to_mark(); }
    ErrorScope(const ErrorScope&) = delete;
    ErrorScope& operator=(const ErrorScope&) = delete;
};

template <auto free_it>
struct Free {
    void operator()(auto* value) const { free_it(value); }
};
using Bignum = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using MdContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Free<EVP_MAC_CTX_free>>;
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, Free<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Free<OSSL_PARAM_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;

Bignum number(std::string_view bytes) {
    return Bignum(BN_bin2bn(octets(bytes), static_cast<int>(bytes.size()), nullptr));
}

// r || s, each as long as the curve's order (RFC 7518 section 3.4), to the DER that OpenSSL reads.
// Empty where the length is wrong. Zero and too large values are refused by the check itself; a high
// s is as good as a low one in JWS, and half of all honest signatures have it.
std::string ecdsa_der(std::string_view raw, std::size_t coordinate_size) {
    if (raw.size() != 2 * coordinate_size) { return {}; }
    const EcdsaSignature signature(ECDSA_SIG_new());
    Bignum r = number(raw.substr(0, coordinate_size));
    Bignum s = number(raw.substr(coordinate_size));
    if (!signature || !r || !s || ECDSA_SIG_set0(signature.get(), r.get(), s.get()) != 1) { return {}; }
    (void)r.release();                 // The signature owns them now.
    (void)s.release();
    unsigned char* der = nullptr;
    const int size = i2d_ECDSA_SIG(signature.get(), &der);
    if (size <= 0) { return {}; }
    std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    return out;
}

std::string check_rsa(EVP_PKEY* pkey) {
    const int bits = EVP_PKEY_get_bits(pkey);
    if (bits < 2048) { return "an RSA key must have at least 2,048 bits, this one has " + std::to_string(bits); }
    // Checking takes the square of the size: nobody needs more, and every token would pay for it.
    if (bits > 8192) { return "an RSA key may have at most 8,192 bits, this one has " + std::to_string(bits); }
    BIGNUM* read = nullptr;
    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &read) != 1) { return "the RSA exponent is missing"; }
    const Bignum exponent(read);
    if (BN_is_one(exponent.get()) || !BN_is_odd(exponent.get())) { return "the RSA exponent must be odd and above 1"; }
    if (BN_num_bits(exponent.get()) > 64) { return "the RSA exponent may have at most 64 bits"; }
    return {};
}

std::string check_curve(EVP_PKEY* pkey, const Row& wanted) {
    std::array<char, 64> curve{};
    std::size_t size = 0;
    // A curve given by its parameters has no name and is refused (CVE-2020-0601).
    const int found = EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, curve.data(), curve.size(), &size);
    if (found != 1 || std::string_view(curve.data(), size) != wanted.curve) {
        return std::string(wanted.name) + " wants a key on the curve " + std::string(wanted.jwk_curve);
    }
    return {};
}

std::expected<Key, std::string> checked_key(Algorithm algorithm, Pkey pkey) {
    const Row& wanted = row(algorithm);
    std::string problem;
    switch (wanted.family) {
        case Family::rsa:
        case Family::pss:
            problem = EVP_PKEY_is_a(pkey.get(), "RSA") == 1 ? check_rsa(pkey.get())
                                                            : std::string(wanted.name) + " wants an RSA key";
            break;
        case Family::ecdsa:
            problem = EVP_PKEY_is_a(pkey.get(), "EC") == 1 ? check_curve(pkey.get(), wanted)
                                                           : std::string(wanted.name) + " wants an EC key";
            break;
        case Family::eddsa:
            if (EVP_PKEY_is_a(pkey.get(), "ED25519") != 1) { problem = "EdDSA wants an Ed25519 key"; }
            break;
        case Family::hmac:
            problem = std::string(wanted.name) + " wants a secret and not a public key";
            break;
    }
    if (!problem.empty()) { return std::unexpected(std::move(problem)); }
    return Key{.algorithm = algorithm, .material = std::make_shared<const KeyMaterial>(std::move(pkey))};
}

// Builds a key out of its numbers; fails where they are none, such as a point off its curve.
Pkey from_params(const char* type, OSSL_PARAM_BLD* builder) {
    const Params params(OSSL_PARAM_BLD_to_param(builder));
    const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
    EVP_PKEY* pkey = nullptr;
    if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &pkey, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
        EVP_PKEY_free(pkey);
        return nullptr;
    }
    return Pkey(pkey);
}

Pkey rsa_key(const Jwk& jwk) {
    const ParamBuilder builder(OSSL_PARAM_BLD_new());
    const Bignum n = number(jwk.n);
    const Bignum e = number(jwk.e);
    if (!builder || !n || !e || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
        return nullptr;
    }
    return from_params("RSA", builder.get());
}

Pkey ec_key(const Jwk& jwk, const Row& wanted) {
    if (jwk.x.size() != wanted.coordinate_size || jwk.y.size() != wanted.coordinate_size) { return nullptr; }
    const std::string point = '\x04' + jwk.x + jwk.y;   // SEC 1: an uncompressed point.
    const ParamBuilder builder(OSSL_PARAM_BLD_new());
    if (!builder || OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, wanted.curve, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1) {
        return nullptr;
    }
    return from_params("EC", builder.get());
}

bool digest_fits(const Row& wanted, EVP_PKEY* pkey, std::string_view text, std::string_view signature) {
    const MdContext context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* settings = nullptr;   // Belongs to the context.
    if (!context || EVP_DigestVerifyInit_ex(context.get(), &settings, wanted.digest, nullptr, nullptr, pkey, nullptr) != 1) {
        return false;
    }
    // RFC 7518 section 3.5: the salt is as long as the digest, MGF1 uses the same digest.
    if (wanted.family == Family::pss &&
        (EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) != 1 ||
         EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST) != 1)) {
        return false;
    }
    return EVP_DigestVerify(context.get(), octets(signature), signature.size(), octets(text), text.size()) == 1;
}

}  // namespace

KeyMaterial::~KeyMaterial() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

std::optional<Algorithm> parse_algorithm(std::string_view text) {
    for (const Row& one : kRows) {
        if (one.name == text) { return one.algorithm; }
    }
    return std::nullopt;
}

bool is_hmac(Algorithm algorithm) { return row(algorithm).family == Family::hmac; }

std::string_view name(Algorithm algorithm) { return row(algorithm).name; }

// A digest that knows its secret. Finding the digest by its name and mixing the secret in cost more than a token does.
struct Keyed {
    std::string secret;
    MacContext context;
    ~Keyed() { OPENSSL_cleanse(secret.data(), secret.size()); }
};

// Begun anew: with the secret as it is, where the library keeps it (3.0.4 does).
EVP_MAC_CTX* begun(const Row& wanted, std::string_view secret) {
    constexpr std::size_t kSecrets = 4;      // In turn: the server's own, and those of the apps that connect.
    static const bool keeps = OpenSSL_version_num() >= 0x30000040UL;
    thread_local std::array<std::array<Keyed, kSecrets>, std::size(kRows)> known;
    thread_local std::size_t turn = 0;
    auto& keys = known[static_cast<std::size_t>(&wanted - std::begin(kRows))];
    const auto same = std::ranges::find_if(keys, [&](const Keyed& one) { return one.context && one.secret == secret; });
    Keyed& keyed = same != keys.end() ? *same : keys[turn++ % kSecrets];
    if (same != keys.end() && keeps) { return EVP_MAC_init(keyed.context.get(), nullptr, 0, nullptr) == 1 ? keyed.context.get() : nullptr; }
    if (!keyed.context) {
        const std::unique_ptr<EVP_MAC, Free<EVP_MAC_free>> mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
        if (!mac) { return nullptr; }
        keyed.context.reset(EVP_MAC_CTX_new(mac.get()));
        std::string digest(wanted.digest);
        const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0), OSSL_PARAM_construct_end()};
        if (keyed.context && EVP_MAC_CTX_set_params(keyed.context.get(), params) != 1) { keyed.context.reset(); }
        if (!keyed.context) { return nullptr; }
    }
    OPENSSL_cleanse(keyed.secret.data(), keyed.secret.size());
    keyed.secret = secret;
    if (EVP_MAC_init(keyed.context.get(), octets(secret), secret.size(), nullptr) == 1) { return keyed.context.get(); }
    keyed.context.reset();                   // It may still know the secret before.
    return nullptr;
}

std::string hmac(Algorithm algorithm, std::string_view secret, std::string_view text) {
    const ErrorScope scope;
    const Row& wanted = row(algorithm);
    std::string out(wanted.digest_size, '\0');
    std::size_t size = 0;
    EVP_MAC_CTX* context = begun(wanted, secret);
    if (context == nullptr || EVP_MAC_update(context, octets(text), text.size()) != 1 ||
        EVP_MAC_final(context, reinterpret_cast<unsigned char*>(out.data()), &size, out.size()) != 1 || size != out.size()) {
        return {};
    }
    return out;
}

bool signature_fits(const Key& key, std::string_view text, std::string_view signature) {
    const ErrorScope scope;
    const Row& wanted = row(key.algorithm);
    if (key.material == nullptr) { return false; }
    if (wanted.family == Family::hmac) {
        const std::string expected = hmac(key.algorithm, key.material->secret(), text);
        return !expected.empty() && signature.size() == expected.size() &&
               CRYPTO_memcmp(expected.data(), signature.data(), expected.size()) == 0;
    }
    if (wanted.family == Family::ecdsa) {
        const std::string der = ecdsa_der(signature, wanted.coordinate_size);
        return !der.empty() && digest_fits(wanted, key.material->pkey(), text, der);
    }
    return digest_fits(wanted, key.material->pkey(), text, signature);
}

std::expected<Key, std::string> make_hmac_key(Algorithm algorithm, std::string_view secret) {
    const Row& wanted = row(algorithm);
    if (wanted.family != Family::hmac) {
        return std::unexpected(std::string(wanted.name) + " wants a public key and not a secret");
    }
    // RFC 7518 section 3.2: the secret is at least as long as the digest.
    if (secret.size() < wanted.digest_size) {
        return std::unexpected("the secret for " + std::string(wanted.name) + " must have at least " +
                               std::to_string(wanted.digest_size) + " bytes, this one has " + std::to_string(secret.size()));
    }
    return Key{.algorithm = algorithm, .material = std::make_shared<const KeyMaterial>(std::string(secret))};
}

std::expected<Key, std::string> make_public_key(Algorithm algorithm, std::string_view pem) {
    const ErrorScope scope;
    if (pem.find("PRIVATE KEY-----") != std::string_view::npos) {
        return std::unexpected("this is a private key; the gateway wants the public key alone");
    }
    const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    // Without a callback of ours OpenSSL would ask the terminal for a password.
    const auto no_password = [](char*, int, int, void*) { return -1; };
    Pkey pkey(bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, no_password, nullptr) : nullptr);
    if (!pkey) { return std::unexpected("this is no public key in PEM form (-----BEGIN PUBLIC KEY-----)"); }
    return checked_key(algorithm, std::move(pkey));
}

std::expected<Key, std::string> make_jwk_key(Algorithm algorithm, const Jwk& jwk) {
    const ErrorScope scope;
    const Row& wanted = row(algorithm);
    Pkey pkey;
    switch (wanted.family) {
        case Family::hmac:
            if (jwk.kty != "oct") { break; }
            return make_hmac_key(algorithm, jwk.k);
        case Family::rsa:
        case Family::pss:
            if (jwk.kty == "RSA" && !jwk.n.empty() && !jwk.e.empty()) { pkey = rsa_key(jwk); }
            break;
        case Family::ecdsa:
            if (jwk.kty == "EC" && jwk.crv == wanted.jwk_curve) { pkey = ec_key(jwk, wanted); }
            break;
        case Family::eddsa:
            if (jwk.kty == "OKP" && jwk.crv == wanted.jwk_curve) {
                pkey.reset(EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, octets(jwk.x), jwk.x.size()));
            }
            break;
    }
    if (!pkey) { return std::unexpected("not a key for " + std::string(wanted.name)); }
    return checked_key(algorithm, std::move(pkey));
}

}  // namespace starling::codec::jwt

#pragma once
// What a token is signed with, and the mathematics of checking it: OpenSSL's EVP and nothing of our
// own. jwt.h is the face; this one is for jwt.cpp alone.

#include <memory>
#include <string>
#include <string_view>

#include <openssl/evp.h>

#include "codec/jwt.h"

namespace starling::codec::jwt {

struct PkeyFree {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Pkey = std::unique_ptr<EVP_PKEY, PkeyFree>;

class KeyMaterial {
 public:
    explicit KeyMaterial(std::string secret) : secret_(std::move(secret)) {}
    explicit KeyMaterial(Pkey pkey) : pkey_(std::move(pkey)) {}
    KeyMaterial(const KeyMaterial&) = delete;
    KeyMaterial& operator=(const KeyMaterial&) = delete;
    ~KeyMaterial();

    const std::string& secret() const { return secret_; }
    EVP_PKEY* pkey() const { return pkey_.get(); }

 private:
    std::string secret_;
    Pkey pkey_;
};

bool is_hmac(Algorithm algorithm);
std::string_view name(Algorithm algorithm);
std::string hmac(Algorithm algorithm, std::string_view secret, std::string_view text);
// `signature` as JWS carries it: raw r and s for ECDSA.
bool signature_fits(const Key& key, std::string_view text, std::string_view signature);

// The members of one JWK (RFC 7517), values base64url-decoded.
struct Jwk {
    std::string kty, crv, n, e, x, y, k;
};
// Fails where this key cannot verify this algorithm.
std::expected<Key, std::string> make_jwk_key(Algorithm algorithm, const Jwk& jwk);

}  // namespace starling::codec::jwt

#pragma once
// JSON Web Tokens: verified against configured keys at a given time, never fetched, never guessed.
// The key decides the algorithm, not the header (RFC 8725). protocol.md sections 4 and 10.

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec/error.h"

namespace starling::codec::jwt {

enum class Algorithm : std::uint8_t { HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA };
std::optional<Algorithm> parse_algorithm(std::string_view text);

// One key that tokens may be signed with. Made once at start or reload; immutable; shared.
class KeyMaterial;                     // An HMAC secret or an EVP_PKEY.
struct Key {
    Algorithm algorithm = Algorithm::HS256;
    std::string kid;                   // Empty: tried for every token with this algorithm.
    std::string audience, issuer;      // Empty: not checked.
    bool require_exp = false;
    std::shared_ptr<const KeyMaterial> material;
};

// Errors say what is wrong with the secret or key (HS256 wants 32 bytes; RSA 2,048 bits).
std::expected<Key, std::string> make_hmac_key(Algorithm algorithm, std::string_view secret);
std::expected<Key, std::string> make_public_key(Algorithm algorithm, std::string_view pem);
// The usable keys of a JWKS document, with their kid.
std::expected<std::vector<Key>, std::string> parse_jwks(std::string_view json, Algorithm algorithm);

struct Claims {
    std::string sub;
    std::optional<std::int64_t> exp_ms;           // Unix milliseconds.
    std::optional<std::string> info;              // Raw JSON.
    std::vector<std::string> channels;
    std::vector<std::pair<std::string, std::vector<std::string>>> can;  // pattern -> rights (connection token)
    // Channel tokens only: `channel` set and `can` an array.
    std::optional<std::string> channel;
    std::vector<std::string> channel_can;
};

struct VerifyLimits { std::size_t user_bytes = 255; std::size_t info_bytes = 4096; std::size_t token_bytes = 16384; };

// unauthenticated, or token_expired where only exp fails. No leeway for exp, 5 s for nbf and iat.
std::expected<Claims, Error> verify(std::string_view token, const std::vector<Key>& keys, std::int64_t now_ms,
                                    const VerifyLimits& limits);

// Signs with an HMAC key: for `starling token mint`, resume tokens and tests. `claims_json` is an object.
std::string sign_hmac(std::string_view claims_json, Algorithm algorithm, std::string_view secret);
// The payload without any check: for `starling token inspect` only.
std::expected<std::pair<std::string, std::string>, Error> inspect(std::string_view token);   // header, payload JSON

}  // namespace starling::codec::jwt

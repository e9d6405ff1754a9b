// Tokens and key sets from strangers. Nothing that a fuzzer makes up may be accepted: it has no key.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "codec/base64.h"
#include "codec/jwt.h"

namespace jwt = starling::codec::jwt;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::string kSecret(32, 'k');
    static const std::vector<jwt::Key> kKeys = {*jwt::make_hmac_key(jwt::Algorithm::HS256, kSecret)};
    const std::string_view text(reinterpret_cast<const char*>(data), size);

    // The seeds are not signed with this secret.
    CHECK(!jwt::verify(text, kKeys, 0, {}));
    (void)jwt::inspect(text);
    for (const auto algorithm : {jwt::Algorithm::HS256, jwt::Algorithm::RS256, jwt::Algorithm::ES256, jwt::Algorithm::EdDSA}) {
        (void)jwt::parse_jwks(text, algorithm);
    }
    // What is decoded has one spelling.
    if (const auto bytes = starling::codec::decode_base64url(text)) { CHECK(starling::codec::encode_base64url(*bytes) == text); }

    // The same bytes as claims behind a good signature: the reading of claims is under attack too.
    const auto claims = jwt::verify(jwt::sign_hmac(text, jwt::Algorithm::HS256, kSecret), kKeys, 0, {});
    if (claims) {
        CHECK(!claims->sub.empty());
        CHECK(claims->sub.size() <= 255);
        CHECK(!claims->exp_ms || *claims->exp_ms > 0);
    }
    return 0;
}

#include "codec/jwt.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "codec/base64.h"
#include "codec/jwt_json.h"
#include "codec/jwt_keys.h"

namespace starling::codec::jwt {
namespace {

constexpr std::int64_t kLeewayMs = 5000;
// The last second of the year 9999: whatever is later is a mistake, such as milliseconds.
constexpr double kSecondsMax = 253402300799.0;
// What is later than this, in the year 2286, counts as this: deadlines are sums of 64-bit nanoseconds.
constexpr double kSecondsCounted = 9999999999.0;

using Failure = std::unexpected<Error>;
Failure refused(std::string message) { return Failure(Error{ErrorCode::unauthenticated, std::move(message)}); }

struct Parts {
    std::string_view signed_text;      // header.payload, as it was signed.
    std::string_view header, payload, signature;
};

std::optional<Parts> split(std::string_view token) {
    const std::size_t first = token.find('.');
    if (first == std::string_view::npos) { return std::nullopt; }
    const std::size_t second = token.find('.', first + 1);
    if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) { return std::nullopt; }
    return Parts{.signed_text = token.substr(0, second),
                 .header = token.substr(0, first),
                 .payload = token.substr(first + 1, second - first - 1),
                 .signature = token.substr(second + 1)};
}

struct Header {
    Algorithm algorithm = Algorithm::HS256;
    std::string kid;
};

std::expected<Header, Error> read_header(std::string_view text) {
    const auto json = decode_base64url(text);
    const auto members = json ? read_object(*json) : std::nullopt;
    if (!members) { return refused("the token's header is not a base64url-encoded JSON object"); }
    Header header;
    bool has_algorithm = false;
    for (const auto& [key, value] : *members) {
        // A token that brings its own key, or names a place to fetch one, or says that there is
        // something we must understand, is refused and not looked into (RFC 8725 section 3.10).
        if (key == "jwk" || key == "jku" || key == "x5u" || key == "crit") {
            return refused("the token's header has '" + key + "', which is not accepted");
        }
        if (key == "alg") {
            const auto named = read_string(value);
            const auto algorithm = named ? parse_algorithm(*named) : std::nullopt;
            if (!algorithm) { return refused("the token's 'alg' is not accepted"); }
            header.algorithm = *algorithm;
            has_algorithm = true;
        }
        if (key == "kid") {
            auto kid = read_string(value);
            if (!kid) { return refused("the token's 'kid' is not a string"); }
            header.kid = std::move(*kid);
        }
    }
    if (!has_algorithm) { return refused("the token has no 'alg'"); }
    return header;
}

// NumericDate (RFC 7519 section 2): seconds, whole or not, as Unix milliseconds.
std::optional<std::int64_t> read_date(std::string_view raw) {
    if (raw.empty() || raw.front() < '0' || raw.front() > '9') { return std::nullopt; }
    double seconds = 0;
    const auto [end, problem] = std::from_chars(raw.data(), raw.data() + raw.size(), seconds);
    if (problem != std::errc{} || end != raw.data() + raw.size() || !(seconds <= kSecondsMax)) { return std::nullopt; }
    return static_cast<std::int64_t>(std::floor(std::min(seconds, kSecondsCounted) * 1000.0));
}

// What is checked and then not handed on.
struct Registered {
    std::optional<std::int64_t> nbf_ms, iat_ms;
    std::optional<std::string> iss;
    std::vector<std::string> aud;
};

bool has_control_character(std::string_view text) {
    return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

Failure wrong(std::string_view claim, std::string_view must) {
    return refused("the token's '" + std::string(claim) + "' " + std::string(must));
}

std::expected<void, Error> read_date_claim(const std::string& key, std::string_view value,
                                           std::optional<std::int64_t>& out) {
    out = read_date(value);
    if (!out) { return wrong(key, "must be a number of seconds since 1970, up to the year 9999"); }
    return {};
}

std::expected<void, Error> read_can(std::string_view value, Claims& claims, bool& is_object) {
    if (auto names = read_strings(value)) {
        claims.channel_can = std::move(*names);
        return {};
    }
    const auto members = read_object(value);
    if (!members) { return wrong("can", "must be an object of arrays, or an array in a channel token"); }
    is_object = true;
    for (const auto& [pattern, rights] : *members) {
        auto names = read_strings(rights);
        if (!names) { return wrong("can", "must give an array of strings for each pattern"); }
        claims.can.emplace_back(pattern, std::move(*names));
    }
    return {};
}

std::expected<Claims, Error> read_claims(std::string_view json, const VerifyLimits& limits, Registered& registered) {
    const auto members = read_object(json);
    if (!members) { return refused("the token's payload is not a JSON object with unique keys"); }
    Claims claims;
    bool has_can = false;
    bool can_is_object = false;
    for (const auto& [key, value] : *members) {
        if (key == "sub") {
            auto sub = read_string(value);
            if (!sub || sub->empty() || has_control_character(*sub)) {
                return wrong(key, "must be a string, not empty, without control characters");
            }
            if (sub->size() > limits.user_bytes) {
                return wrong(key, "is longer than user_bytes, " + std::to_string(limits.user_bytes));
            }
            claims.sub = std::move(*sub);
        } else if (key == "exp") {
            STARLING_TRY(read_date_claim(key, value, claims.exp_ms));
        } else if (key == "nbf") {
            STARLING_TRY(read_date_claim(key, value, registered.nbf_ms));
        } else if (key == "iat") {
            STARLING_TRY(read_date_claim(key, value, registered.iat_ms));
        } else if (key == "iss") {
            registered.iss = read_string(value);
            if (!registered.iss) { return wrong(key, "must be a string"); }
        } else if (key == "aud") {
            if (auto one = read_string(value)) {
                registered.aud = {std::move(*one)};
            } else if (auto several = read_strings(value)) {
                registered.aud = std::move(*several);
            } else {
                return wrong(key, "must be a string or an array of strings");
            }
        } else if (key == "info") {
            if (value.size() > limits.info_bytes) {
                return wrong(key, "is longer than its limit, " + std::to_string(limits.info_bytes) + " bytes");
            }
            if (value != "null") { claims.info = std::string(value); }
        } else if (key == "channels") {
            auto channels = read_strings(value);
            if (!channels) { return wrong(key, "must be an array of strings"); }
            claims.channels = std::move(*channels);
        } else if (key == "channel") {
            claims.channel = read_string(value);
            if (!claims.channel) { return wrong(key, "must be a string"); }
        } else if (key == "can") {
            STARLING_TRY(read_can(value, claims, can_is_object));
            has_can = true;
        }
    }
    if (claims.sub.empty()) { return refused("the token has no 'sub'"); }
    // An array of rights says nothing without its channel, and a channel's token grants in no other.
    if (has_can && claims.channel.has_value() == can_is_object) {
        return wrong("can", claims.channel ? "must be an array beside 'channel'" : "must be an object without 'channel'");
    }
    return claims;
}

// What this key asks beyond its signature.
std::expected<void, Error> check_policy(const Key& key, const Claims& claims, const Registered& registered,
                                        std::int64_t now_ms) {
    if (!key.issuer.empty() && registered.iss != key.issuer) { return refused("the token's 'iss' is not the configured issuer"); }
    if (!key.audience.empty() && std::ranges::find(registered.aud, key.audience) == registered.aud.end()) {
        return refused("the token's 'aud' is not the configured audience");
    }
    if (key.require_exp && !claims.exp_ms) { return refused("the token has no 'exp', which this key requires"); }
    if (registered.nbf_ms && *registered.nbf_ms > now_ms + kLeewayMs) { return refused("the token is not valid yet ('nbf')"); }
    if (registered.iat_ms && *registered.iat_ms > now_ms + kLeewayMs) {
        return refused("the token was issued in the future ('iat')");
    }
    // Last, so that token_expired means: a new one of the same kind would do.
    if (claims.exp_ms && *claims.exp_ms <= now_ms) {
        return Failure(Error{ErrorCode::token_expired, "the token has expired"});
    }
    return {};
}

bool may_sign(const Key& key, const Header& header) {
    return key.algorithm == header.algorithm && (key.kid.empty() || key.kid == header.kid);
}

}  // namespace

std::expected<Claims, Error> verify(std::string_view token, const std::vector<Key>& keys, std::int64_t now_ms,
                                    const VerifyLimits& limits) {
    // Before anything is decoded: what a stranger sends costs a comparison and no memory.
    if (token.size() > limits.token_bytes) {
        return refused("the token is longer than its limit, " + std::to_string(limits.token_bytes) + " bytes");
    }
    const auto parts = split(token);
    if (!parts) { return refused("the token is not three parts with dots between them"); }
    // The tokens of one issuer begin alike: what was read last is not read again.
    thread_local std::string last_text;
    thread_local std::optional<Header> last; // Null: none was read, and the empty text stands for none.
    if (!last || last_text != parts->header) {
        auto read = read_header(parts->header);
        if (!read) { return std::unexpected(read.error()); }
        last_text = parts->header;
        last = std::move(*read);
    }
    const Header& header = *last;
    const auto signature = decode_base64url(parts->signature);
    if (!signature || signature->empty()) { return refused("the token's signature is not base64url"); }

    bool any_key = false;
    std::optional<Error> problem;
    std::optional<std::string> payload;
    for (const Key& key : keys) {
        if (!may_sign(key, header)) { continue; }
        any_key = true;
        if (!signature_fits(key, parts->signed_text, *signature)) { continue; }
        // Nothing of the payload is read before somebody we know has signed it.
        if (!payload) { payload = decode_base64url(parts->payload); }
        if (!payload) { return refused("the token's payload is not base64url"); }
        Registered registered;
        auto claims = read_claims(*payload, limits, registered);
        if (!claims) { return claims; }
        const auto policy = check_policy(key, *claims, registered, now_ms);
        if (policy) { return claims; }
        // One secret may be configured for two audiences: the next key may say yes.
        if (!problem || policy.error().code == ErrorCode::token_expired) { problem = policy.error(); }
    }
    if (problem) { return Failure(*problem); }
    return refused(any_key ? "the token's signature is wrong" : "no configured key has this token's 'alg' and 'kid'");
}

std::expected<std::vector<Key>, std::string> parse_jwks(std::string_view json, Algorithm algorithm) {
    const auto document = read_object(json);
    if (!document) { return std::unexpected("the JWKS is not a JSON object"); }
    const auto list = std::ranges::find(*document, "keys", &Member::key);
    const auto entries = list == document->end() ? std::nullopt : read_array(list->value);
    if (!entries) { return std::unexpected("the JWKS has no array 'keys'"); }

    std::vector<Key> keys;
    std::string last_problem = "the set is empty";
    for (const std::string_view entry : *entries) {
        auto key = read_jwk(entry, algorithm);
        // A set holds keys for other uses and algorithms too: those are not for us.
        if (key) {
            keys.push_back(std::move(*key));
        } else {
            last_problem = std::move(key).error();
        }
    }
    if (keys.empty()) {
        return std::unexpected("the JWKS has no usable key for " + std::string(name(algorithm)) + " (" + last_problem + ")");
    }
    return keys;
}

std::string sign_hmac(std::string_view claims_json, Algorithm algorithm, std::string_view secret) {
    const std::string header = R"({"alg":")" + std::string(name(algorithm)) + R"(","typ":"JWT"})";
    std::string token = encode_base64url(header) + '.' + encode_base64url(claims_json);
    token += '.' + encode_base64url(hmac(algorithm, secret, token));
    return token;
}

std::expected<std::pair<std::string, std::string>, Error> inspect(std::string_view token) {
    const auto parts = split(token);
    if (!parts) { return refused("the token is not three parts with dots between them"); }
    auto header = decode_base64url(parts->header);
    auto payload = decode_base64url(parts->payload);
    if (!header || !payload) { return refused("the token's parts are not base64url"); }
    return std::pair{std::move(*header), std::move(*payload)};
}

}  // namespace starling::codec::jwt

#pragma once
// `starling token`: tokens for tests and first steps, signed with the configuration's own HMAC key.

#include <expected>
#include <string>
#include <vector>

#include "server/config.h"

namespace starling::server {

struct MintRequest {
    std::string sub;
    std::vector<std::string> can;      // "doc:*=subscribe,presence"; with `channel` "subscribe,presence".
    std::string ttl;                   // Empty: no end.
    std::string channel;               // Not empty: a channel token.
    std::vector<std::string> channels;
    std::string info;                  // Raw JSON.
    std::string app = "default";
};

// The claims at a given time; `audience` and `issuer` are left out where empty.
std::expected<std::string, std::string> make_claims(const MintRequest& request, std::int64_t now_s, const std::string& audience,
                                                    const std::string& issuer);
std::expected<std::string, std::string> mint_token(const Config& config, const MintRequest& request);

// Header and payload, a line each, and what `exp` means. Says nothing about the signature.
std::expected<std::string, std::string> inspect_token(const std::string& token);

// "90s", "15m", "1h", "7d" in seconds.
std::expected<std::int64_t, std::string> parse_ttl(std::string_view text);

}  // namespace starling::server

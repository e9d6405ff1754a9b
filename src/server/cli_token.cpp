#include "server/cli_token.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "codec/json.h"

namespace starling::server {
namespace {

std::string quote_json(std::string_view text) {
    std::string out;
    codec::json::append_string(out, text);
    return out;
}

constexpr std::string_view kRights[] = {"subscribe", "publish", "presence", "typing", "history"};

std::expected<std::string, std::string> rights_array(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const std::string_view right = text.substr(0, comma);
        if (std::ranges::find(kRights, right) == std::end(kRights)) {
            return std::unexpected("\"" + std::string(right) + "\" is none of subscribe, publish, presence, typing, history");
        }
        out += (out.empty() ? "" : ",") + quote_json(right);
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return "[" + out + "]";
}

std::expected<std::string, std::string> can_of(const MintRequest& request) {
    if (!request.channel.empty()) {
        if (request.can.size() != 1) { return std::unexpected("a channel token wants one --can RIGHT,..."); }
        return rights_array(request.can[0]);
    }
    std::string out;
    for (const std::string& rule : request.can) {
        const std::size_t equals = rule.rfind('=');
        if (equals == std::string::npos || equals == 0) { return std::unexpected("--can wants PATTERN=RIGHT,..., for example doc:*=subscribe"); }
        auto rights = rights_array(std::string_view(rule).substr(equals + 1));
        if (!rights) { return rights; }
        out += (out.empty() ? "" : ",") + quote_json(rule.substr(0, equals)) + ":" + *rights;
    }
    return "{" + out + "}";
}

}  // namespace

std::expected<std::int64_t, std::string> parse_ttl(std::string_view text) {
    static constexpr std::pair<char, std::int64_t> kUnits[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const auto* unit = text.empty() ? std::end(kUnits) : std::ranges::find(kUnits, text.back(), [](const auto& u) { return u.first; });
    std::int64_t count = 0;
    if (unit != std::end(kUnits)) {
        const char* const end = text.data() + text.size() - 1;
        const auto [rest, error] = std::from_chars(text.data(), end, count);
        if (error == std::errc() && rest == end && count > 0 && count <= 36'500) { return count * unit->second; }
    }
    return std::unexpected("--ttl wants a number and a unit: 90s, 15m, 1h, 7d");
}

std::expected<std::string, std::string> make_claims(const MintRequest& request, std::int64_t now_s, const std::string& audience,
                                                    const std::string& issuer) {
    std::string out = "{\"sub\":" + quote_json(request.sub) + ",\"iat\":" + std::to_string(now_s);
    if (!request.ttl.empty()) {
        const auto ttl = parse_ttl(request.ttl);
        if (!ttl) { return std::unexpected(ttl.error()); }
        out += ",\"exp\":" + std::to_string(now_s + *ttl);
    }
    if (!audience.empty()) { out += ",\"aud\":" + quote_json(audience); }
    if (!issuer.empty()) { out += ",\"iss\":" + quote_json(issuer); }
    if (!request.channel.empty()) { out += ",\"channel\":" + quote_json(request.channel); }
    if (!request.can.empty() || !request.channel.empty()) {
        const auto can = can_of(request);
        if (!can) { return can; }
        out += ",\"can\":" + *can;
    }
    if (!request.channels.empty()) {
        std::string list;
        for (const std::string& channel : request.channels) { list += (list.empty() ? "" : ",") + quote_json(channel); }
        out += ",\"channels\":[" + list + "]";
    }
    if (!request.info.empty()) { out += ",\"info\":" + request.info; }
    return out + "}";
}

std::expected<std::string, std::string> mint_token(const Config& config, const MintRequest& request) {
    const auto app = std::ranges::find(config.apps, request.app, &AppConfig::id);
    if (app == config.apps.end()) { return std::unexpected("no app is called \"" + request.app + "\"; give --config FILE"); }
    const auto key = std::ranges::find_if(app->token_keys, [](const TokenKeyConfig& each) { return !each.secret.empty(); });
    if (key == app->token_keys.end()) { return std::unexpected("the app \"" + request.app + "\" has no token key with a secret (HS256)"); }
    const auto algorithm = codec::jwt::parse_algorithm(key->algorithm);
    if (!algorithm) { return std::unexpected("algorithm " + key->algorithm + " is not known"); }
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    const auto claims = make_claims(request, now, key->audience, key->issuer);
    if (!claims) { return claims; }
    std::string token = codec::jwt::sign_hmac(*claims, *algorithm, key->secret);
    // What the gateway would refuse is better refused here: --info that is not JSON, a user id that is too long.
    auto made = codec::jwt::make_hmac_key(*algorithm, key->secret);
    if (!made) { return std::unexpected(std::move(made).error()); }
    made->audience = key->audience;
    made->issuer = key->issuer;
    const auto verified = codec::jwt::verify(token, {*made}, now * 1000, {});
    if (!verified) { return std::unexpected("such a token would be refused: " + verified.error().message); }
    return token;
}

std::expected<std::string, std::string> inspect_token(const std::string& token) {
    const auto parts = codec::jwt::inspect(token);
    if (!parts) { return std::unexpected(parts.error().message); }
    std::string out = parts->first + "\n" + parts->second + "\n";
    const auto payload = codec::json::parse(parts->second, 128);
    const auto fields = payload && payload->kind == codec::json::Kind::object ? codec::json::fields(*payload) : std::vector<codec::json::Field>{};
    for (const auto& field : fields ? *fields : std::vector<codec::json::Field>{}) {
        const auto end = field.key == "exp" ? codec::json::integer(field.value.raw) : std::nullopt;
        const auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
        if (end) { out += *end <= now ? "expired\n" : "expires in " + std::to_string(*end - now) + " s\n"; }
    }
    return out;
}

}  // namespace starling::server

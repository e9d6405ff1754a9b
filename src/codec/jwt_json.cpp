#include "codec/jwt_json.h"

#include <algorithm>

#include "codec/base64.h"
#include "codec/json.h"
#include "codec/jwt_keys.h"

namespace starling::codec::jwt {
namespace {

constexpr std::uint32_t kDepthMax = 32;
constexpr std::size_t kElementsMax = 10000;   // More than a token has room for; a key set has some ten.

std::optional<json::Value> read(std::string_view raw, json::Kind kind) {
    if (!json::valid_utf8(raw)) { return std::nullopt; }
    const auto value = json::parse(raw, kDepthMax);
    if (!value || value->kind != kind) { return std::nullopt; }
    return *value;
}

}  // namespace

std::optional<std::vector<Member>> read_object(std::string_view raw) {
    const auto object = read(raw, json::Kind::object);
    if (!object) { return std::nullopt; }
    auto fields = json::fields(*object);   // Fails where a key comes twice.
    if (!fields) { return std::nullopt; }
    std::vector<Member> members;
    members.reserve(fields->size());
    for (auto& [key, value] : *fields) { members.push_back({std::move(key), value.raw}); }
    return members;
}

std::optional<std::vector<std::string_view>> read_array(std::string_view raw) {
    const auto array = read(raw, json::Kind::array);
    const auto elements = array ? json::elements(*array, kElementsMax) : std::nullopt;
    if (!elements) { return std::nullopt; }
    std::vector<std::string_view> entries;
    entries.reserve(elements->size());
    for (const json::Value& element : *elements) { entries.push_back(element.raw); }
    return entries;
}

std::optional<std::string> read_string(std::string_view raw) {
    const auto text = read(raw, json::Kind::string);
    return text ? json::unescape(text->raw) : std::nullopt;
}

std::optional<std::vector<std::string>> read_strings(std::string_view raw) {
    const auto entries = read_array(raw);
    if (!entries) { return std::nullopt; }
    std::vector<std::string> strings;
    for (const std::string_view entry : *entries) {
        auto text = read_string(entry);
        if (!text) { return std::nullopt; }
        strings.push_back(std::move(*text));
    }
    return strings;
}

std::expected<Key, std::string> read_jwk(std::string_view raw, Algorithm algorithm) {
    const auto members = read_object(raw);
    if (!members) { return std::unexpected("a key is not a JSON object"); }
    Jwk jwk;
    std::string kid;
    for (const auto& [key, value] : *members) {
        if (key == "key_ops") {
            const auto operations = read_strings(value);
            if (!operations || std::ranges::find(*operations, "verify") == operations->end()) {
                return std::unexpected("a key is not for verifying");
            }
            continue;
        }
        const auto text = read_string(value);
        if (!text) { continue; }       // x5c and members that we do not know may be anything.
        if (key == "use" && *text != "sig") { return std::unexpected("a key is not for signatures"); }
        if (key == "alg" && *text != name(algorithm)) { return std::unexpected("a key is for " + *text); }
        if (key == "kid") { kid = *text; }
        if (key == "kty") { jwk.kty = *text; }
        if (key == "crv") { jwk.crv = *text; }
        const auto decode_into = [&](std::string& out) { out = decode_base64url(*text).value_or(""); };
        if (key == "n") { decode_into(jwk.n); }
        if (key == "e") { decode_into(jwk.e); }
        if (key == "x") { decode_into(jwk.x); }
        if (key == "y") { decode_into(jwk.y); }
        if (key == "k") { decode_into(jwk.k); }
    }
    auto made = make_jwk_key(algorithm, jwk);
    if (made) { made->kid = std::move(kid); }
    return made;
}

}  // namespace starling::codec::jwt

#pragma once
// The little that a token needs of JSON: strict, no key twice at any level of an object that is
// read, text in valid UTF-8. Values are slices of the text that was given.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/jwt.h"

namespace starling::codec::jwt {

struct Member {
    std::string key;                   // Unescaped.
    std::string_view value;            // Raw, without whitespace around it.
};

std::optional<std::vector<Member>> read_object(std::string_view raw);
std::optional<std::vector<std::string_view>> read_array(std::string_view raw);
std::optional<std::string> read_string(std::string_view raw);
std::optional<std::vector<std::string>> read_strings(std::string_view raw);   // An array of strings.

// One entry of a JWKS, as a key of this algorithm.
std::expected<Key, std::string> read_jwk(std::string_view raw, Algorithm algorithm);

}  // namespace starling::codec::jwt

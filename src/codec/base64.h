#pragma once
// base64url without padding, as RFC 7515 wants it, and strict: one text for each value. Padding,
// whitespace, the letters of plain base64 and stray trailing bits are refused, so that nobody can
// make a second spelling of a signed token (security.md T10).

#include <optional>
#include <string>
#include <string_view>

namespace starling::codec {

std::string encode_base64url(std::string_view bytes);
std::optional<std::string> decode_base64url(std::string_view text);

}  // namespace starling::codec

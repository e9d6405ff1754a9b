#pragma once
// The small words of RFC 9110 that parser and writer share.

#include <string_view>

namespace starling::codec::http {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// RFC 9110 §5.6.2.
constexpr bool is_token_byte(char c) {
    return is_digit(c) || is_alpha(c) || std::string_view("!#$%&'*+-.^_`|~").contains(c);
}
constexpr bool is_token(std::string_view text) {
    for (const char c : text) {
        if (!is_token_byte(c)) { return false; }
    }
    return !text.empty();
}
// What may stand in a line besides its end: RFC 9110 §5.5, field-content with obs-text.
constexpr bool is_line_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}
constexpr std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) { text.remove_prefix(1); }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) { text.remove_suffix(1); }
    return text;
}

}  // namespace starling::codec::http

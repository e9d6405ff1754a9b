#pragma once
// A validating JSON scanner (RFC 8259) that hands out raw slices: what a publisher wrote goes on byte
// for byte, and nothing invalid passes. No recursion: depth costs a bit.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starling::codec::json {

enum class Kind : std::uint8_t { object, array, string, number, boolean, null };

struct Value {
    Kind kind = Kind::null;
    std::string_view raw;                    // Without the white space around it.
};
struct Field {
    std::string key;                         // Decoded.
    Value value;
};

// Validates one JSON text; `depth_max` counts nested arrays and objects. The error says what is wrong
// and at which byte.
std::expected<Value, std::string> parse(std::string_view text, std::uint32_t depth_max);

// The fields of an object that parse() has accepted. A key twice is an error that names it.
std::expected<std::vector<Field>, std::string> fields(const Value& object);
// The elements of an accepted array; nullopt when there are more than `count_max`.
std::optional<std::vector<Value>> elements(const Value& array, std::size_t count_max);

// How deep an accepted value nests: 0 for a scalar.
std::uint32_t depth(std::string_view raw);
// The text of an accepted string; nullopt where it holds a lone surrogate.
std::optional<std::string> unescape(std::string_view raw);
// An integer in range; nullopt for fractions, exponents and what does not fit.
std::optional<std::int64_t> integer(std::string_view raw);

void append_string(std::string& out, std::string_view text);   // With quotes.

bool valid_utf8(std::string_view text);

}  // namespace starling::codec::json

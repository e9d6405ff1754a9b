#pragma once
// What is inside the quotes of a JSON string, for json.cpp and json_string.cpp.

#include <cstddef>
#include <string_view>

namespace starling::codec::json {

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
// The value of a hexadecimal digit; -1: it is none.
int hex(char c);
// The first byte from `at` on that is not itself in a JSON string (a control, a quote or a backslash), or the text's end.
std::size_t plain_end(std::string_view text, std::size_t at);

}  // namespace starling::codec::json

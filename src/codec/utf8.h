#pragma once
// UTF-8 as RFC 3629 has it: no surrogates, nothing overlong, nothing above U+10FFFF. `Utf8Stream`
// refuses at the first byte that cannot begin, continue or end a character.

#include <cstdint>
#include <string_view>

namespace starling::codec {

bool valid_utf8(std::string_view bytes);

class Utf8Stream {
 public:
    // False: not UTF-8, whatever follows.
    bool feed(std::string_view bytes);
    // Between two characters: the text may end here.
    bool complete() const { return needed_ == 0; }

 private:
    std::uint8_t needed_ = 0;            // Continuation bytes still to come.
    std::uint8_t low_ = 0x80, high_ = 0xBF;  // What the next of them may be.
};

}  // namespace starling::codec

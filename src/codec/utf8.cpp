#include "codec/utf8.h"

#include <cstddef>
#include <cstring>

namespace starling::codec {
namespace {

// Most text is ASCII: step over it by blocks, of which the compiler makes vector code.
std::size_t ascii_prefix(std::string_view bytes) {
    constexpr std::size_t kBlock = 32;
    std::size_t size = 0;
    for (; bytes.size() - size >= kBlock; size += kBlock) {
        std::uint64_t words[kBlock / 8];
        std::memcpy(words, bytes.data() + size, kBlock);
        if (((words[0] | words[1] | words[2] | words[3]) & 0x8080808080808080U) != 0) { break; }
    }
    while (size < bytes.size() && static_cast<std::uint8_t>(bytes[size]) < 0x80) { ++size; }
    return size;
}

}  // namespace

bool Utf8Stream::feed(std::string_view bytes) {
    std::size_t index = 0;
    while (index < bytes.size()) {
        const auto byte = static_cast<std::uint8_t>(bytes[index]);
        if (needed_ > 0) {
            if (byte < low_ || byte > high_) { return false; }
            low_ = 0x80;
            high_ = 0xBF;
            --needed_;
            ++index;
            continue;
        }
        if (byte < 0x80) {
            index += ascii_prefix(bytes.substr(index));
            continue;
        }
        if (byte < 0xC2 || byte > 0xF4) { return false; }  // Continuation, overlong or past U+10FFFF.
        needed_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
        if (byte == 0xE0) { low_ = 0xA0; }   // Below: overlong.
        if (byte == 0xED) { high_ = 0x9F; }  // Above: surrogates.
        if (byte == 0xF0) { low_ = 0x90; }   // Below: overlong.
        if (byte == 0xF4) { high_ = 0x8F; }  // Above: past U+10FFFF.
        ++index;
    }
    return true;
}

bool valid_utf8(std::string_view bytes) {
    Utf8Stream stream;
    return stream.feed(bytes) && stream.complete();
}

}  // namespace starling::codec

#include "codec/base64.h"

#include <array>
#include <cstdint>

namespace starling::codec {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t kNone = 255;

constexpr auto kValues = [] {
    std::array<std::uint8_t, 256> values{};
    values.fill(kNone);
    for (std::size_t i = 0; i < kLetters.size(); ++i) {
        values[static_cast<unsigned char>(kLetters[i])] = static_cast<std::uint8_t>(i);
    }
    return values;
}();

}  // namespace

std::string encode_base64url(std::string_view bytes) {
    std::string out;
    out.reserve((bytes.size() * 4 + 2) / 3);
    std::uint32_t bits = 0;
    int waiting = 0;                   // Bits of `bits` that are not written yet.
    for (const char c : bytes) {
        bits = (bits << 8) | static_cast<unsigned char>(c);
        for (waiting += 8; waiting >= 6; waiting -= 6) { out += kLetters[(bits >> (waiting - 6)) & 63]; }
    }
    if (waiting > 0) { out += kLetters[(bits << (6 - waiting)) & 63]; }
    return out;
}

std::optional<std::string> decode_base64url(std::string_view text) {
    if (text.size() % 4 == 1) { return std::nullopt; }
    std::string out;
    out.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    int waiting = 0;
    for (const char c : text) {
        const std::uint8_t value = kValues[static_cast<unsigned char>(c)];
        if (value == kNone) { return std::nullopt; }
        bits = (bits << 6) | value;
        waiting += 6;
        if (waiting >= 8) {
            waiting -= 8;
            out += static_cast<char>((bits >> waiting) & 255);
        }
    }
    // What is left of the last letter carries nothing, so it must be zero.
    if ((bits & ((1U << waiting) - 1)) != 0) { return std::nullopt; }
    return out;
}

}  // namespace starling::codec

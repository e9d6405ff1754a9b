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
    std::string out((bytes.size() * 4 + 2) / 3, '\0');
    char* to = out.data();
    const auto octet = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at])); };
    std::size_t at = 0;
    for (; at + 3 <= bytes.size(); at += 3) {
        const std::uint32_t bits = octet(at) << 16 | octet(at + 1) << 8 | octet(at + 2);
        *to++ = kLetters[bits >> 18];
        *to++ = kLetters[bits >> 12 & 63];
        *to++ = kLetters[bits >> 6 & 63];
        *to++ = kLetters[bits & 63];
    }
    if (at == bytes.size()) { return out; }
    const bool two = at + 2 == bytes.size();
    const std::uint32_t bits = octet(at) << 16 | (two ? octet(at + 1) << 8 : 0);
    *to++ = kLetters[bits >> 18];
    *to++ = kLetters[bits >> 12 & 63];
    if (two) { *to = kLetters[bits >> 6 & 63]; }
    return out;
}

std::optional<std::string> decode_base64url(std::string_view text) {
    if (text.size() % 4 == 1) { return std::nullopt; }
    std::string out(text.size() * 3 / 4, '\0');
    char* to = out.data();
    const auto value = [&](std::size_t at) { return static_cast<std::uint32_t>(kValues[static_cast<unsigned char>(text[at])]); };
    std::size_t at = 0;
    for (; at + 4 <= text.size(); at += 4) {
        const std::uint32_t a = value(at), b = value(at + 1), c = value(at + 2), d = value(at + 3);
        if (((a | b | c | d) & ~63U) != 0) { return std::nullopt; }
        const std::uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        *to++ = static_cast<char>(bits >> 16);
        *to++ = static_cast<char>(bits >> 8 & 255);
        *to++ = static_cast<char>(bits & 255);
    }
    // What is left of the last letter carries nothing, so it must be zero.
    std::uint32_t bits = 0;
    int waiting = 0;
    for (; at < text.size(); ++at) {
        if (value(at) > 63) { return std::nullopt; }
        bits = bits << 6 | value(at);
        waiting += 6;
        if (waiting < 8) { continue; }
        waiting -= 8;
        *to++ = static_cast<char>(bits >> waiting & 255);
    }
    if ((bits & ((1U << waiting) - 1)) != 0) { return std::nullopt; }
    return out;
}

}  // namespace starling::codec

#include "codec/json_string.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "codec/json.h"

namespace starling::codec::json {

namespace {

void append_utf8(std::string& out, std::uint32_t code) {
    if (code < 0x80) {
        out += static_cast<char>(code);
    } else if (code < 0x800) {
        out += static_cast<char>(0xC0 | (code >> 6));
        out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        out += static_cast<char>(0xE0 | (code >> 12));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
        out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
        out += static_cast<char>(0xF0 | (code >> 18));
        out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
        out += static_cast<char>(0x80 | (code & 0x3F));
    }
}

std::uint32_t code_unit(std::string_view four) {
    std::uint32_t value = 0;
    for (const char c : four) { value = value * 16 + static_cast<std::uint32_t>(hex(c)); }
    return value;
}

}  // namespace

int hex(char c) {
    if (is_digit(c)) { return c - '0'; }
    if (c >= 'a' && c <= 'f') { return c - 'a' + 10; }
    if (c >= 'A' && c <= 'F') { return c - 'A' + 10; }
    return -1;
}

// Eight at a time.
std::size_t plain_end(std::string_view text, std::size_t at) {
    static_assert(std::endian::native == std::endian::little);   // The first byte is the lowest.
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    constexpr std::uint64_t kHigh = 0x80 * kOnes;
    // The high bit of each byte that is below `limit`; above the lowest of them there may be one too many.
    const auto below = [](std::uint64_t bytes, std::uint64_t limit) { return (bytes - limit * kOnes) & ~bytes & kHigh; };
    for (; at + 8 <= text.size(); at += 8) {
        std::uint64_t bytes = 0;
        std::memcpy(&bytes, text.data() + at, sizeof bytes);
        const std::uint64_t found = below(bytes, 0x20) | below(bytes ^ ('"' * kOnes), 1) | below(bytes ^ ('\\' * kOnes), 1);
        if (found != 0) { return at + static_cast<std::size_t>(std::countr_zero(found)) / 8; }
    }
    for (; at < text.size(); ++at) {
        const auto c = static_cast<unsigned char>(text[at]);
        if (c < 0x20 || c == '"' || c == '\\') { break; }
    }
    return at;
}

std::optional<std::string> unescape(std::string_view raw) {
    raw = raw.substr(1, raw.size() - 2);
    const std::size_t plain = std::min(raw.find('\\'), raw.size());
    std::string out(raw.substr(0, plain));
    for (std::size_t i = plain; i < raw.size(); ++i) {
        if (raw[i] != '\\') {
            out += raw[i];
            continue;
        }
        switch (raw[++i]) {
            case 'b': out += '\b'; break;
            case 'f': out += '\f'; break;
            case 'n': out += '\n'; break;
            case 'r': out += '\r'; break;
            case 't': out += '\t'; break;
            case 'u': {
                std::uint32_t code = code_unit(raw.substr(i + 1, 4));
                i += 4;
                if (code >= 0xDC00 && code <= 0xDFFF) { return std::nullopt; }
                if (code >= 0xD800 && code <= 0xDBFF) {
                    if (raw.substr(i + 1, 2) != "\\u") { return std::nullopt; }
                    const std::uint32_t low = code_unit(raw.substr(i + 3, 4));
                    if (low < 0xDC00 || low > 0xDFFF) { return std::nullopt; }
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                    i += 6;
                }
                append_utf8(out, code);
                break;
            }
            default: out += raw[i];
        }
    }
    return out;
}

void append_string(std::string& out, std::string_view text) {
    static constexpr char kDigits[] = "0123456789abcdef";
    out += '"';
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = plain_end(text, begin);
        out.append(text, begin, end - begin);
        begin = end + 1;
        if (end == text.size()) { break; }
        const auto c = static_cast<unsigned char>(text[end]);
        if (c >= 0x20) {
            out += '\\';
            out += static_cast<char>(c);
        } else {
            out += "\\u00";
            out += kDigits[c >> 4];
            out += kDigits[c & 15];
        }
    }
    out += '"';
}

bool valid_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        if (std::uint64_t bytes = 0; i + sizeof bytes <= text.size()) {
            std::memcpy(&bytes, text.data() + i, sizeof bytes);
            if ((bytes & 0x8080808080808080) == 0) {
                i += sizeof bytes;
                continue;
            }
        }
        const auto c = static_cast<unsigned char>(text[i]);
        if (c < 0x80) {
            ++i;
            continue;
        }
        const std::size_t length = c >= 0xC2 && c <= 0xDF ? 2 : c >= 0xE0 && c <= 0xEF ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
        if (length == 0 || i + length > text.size()) { return false; }
        const auto second = static_cast<unsigned char>(text[i + 1]);
        // RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF.
        const unsigned low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
        const unsigned high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        if (second < low || second > high) { return false; }
        for (std::size_t k = 2; k < length; ++k) {
            if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) { return false; }
        }
        i += length;
    }
    return true;
}

}  // namespace starling::codec::json

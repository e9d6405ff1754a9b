#include "codec/json.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace starling::codec::json {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex(char c) {
    if (is_digit(c)) { return c - '0'; }
    if (c >= 'a' && c <= 'f') { return c - 'a' + 10; }
    if (c >= 'A' && c <= 'F') { return c - 'A' + 10; }
    return -1;
}

// A cursor over the text. Each skip_ returns false where the grammar is broken, and stands there.
struct Scanner {
    std::string_view text;
    std::size_t at = 0;

    bool more() const { return at < text.size(); }
    char peek() const { return text[at]; }
    void skip_space() {
        while (more() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) { ++at; }
    }
    bool skip_string() {
        ++at;
        while (more()) {
            const auto c = static_cast<unsigned char>(peek());
            if (c == '"') {
                ++at;
                return true;
            }
            if (c < 0x20) { return false; }
            if (c != '\\') {
                ++at;
                continue;
            }
            if (++at >= text.size()) { return false; }
            const char escape = peek();
            if (escape == 'u') {
                for (int i = 1; i <= 4; ++i) {
                    if (at + static_cast<std::size_t>(i) >= text.size() || hex(text[at + static_cast<std::size_t>(i)]) < 0) {
                        return false;
                    }
                }
                at += 5;
            } else if (std::string_view("\"\\/bfnrt").find(escape) != std::string_view::npos) {
                ++at;
            } else {
                return false;
            }
        }
        return false;
    }
    bool skip_digits() {
        if (!more() || !is_digit(peek())) { return false; }
        while (more() && is_digit(peek())) { ++at; }
        return true;
    }
    bool skip_number() {
        if (peek() == '-') { ++at; }
        if (!more()) { return false; }
        if (peek() == '0') {
            ++at;
        } else if (!skip_digits()) {
            return false;
        }
        if (more() && peek() == '.') {
            ++at;
            if (!skip_digits()) { return false; }
        }
        if (more() && (peek() == 'e' || peek() == 'E')) {
            ++at;
            if (more() && (peek() == '+' || peek() == '-')) { ++at; }
            if (!skip_digits()) { return false; }
        }
        return true;
    }
    bool skip_word(std::string_view word) {
        if (text.substr(at, word.size()) != word) { return false; }
        at += word.size();
        return true;
    }
    bool skip_scalar() {
        switch (peek()) {
            case '"': return skip_string();
            case 't': return skip_word("true");
            case 'f': return skip_word("false");
            case 'n': return skip_word("null");
            default: return (peek() == '-' || is_digit(peek())) && skip_number();
        }
    }
};

Kind kind_of(char first) {
    switch (first) {
        case '{': return Kind::object;
        case '[': return Kind::array;
        case '"': return Kind::string;
        case 't':
        case 'f': return Kind::boolean;
        case 'n': return Kind::null;
        default: return Kind::number;
    }
}

// Skips one value of text that is known to be valid.
void skip_valid(Scanner& scanner) {
    std::size_t open = 0;
    do {
        scanner.skip_space();
        const char c = scanner.peek();
        if (c == '{' || c == '[') {
            ++open;
            ++scanner.at;
        } else if (c == '}' || c == ']') {
            --open;
            ++scanner.at;
        } else if (c == ',' || c == ':') {
            ++scanner.at;
        } else {
            scanner.skip_scalar();
        }
    } while (open > 0);
}

Value take_valid(Scanner& scanner) {
    scanner.skip_space();
    const std::size_t begin = scanner.at;
    skip_valid(scanner);
    return {kind_of(scanner.text[begin]), scanner.text.substr(begin, scanner.at - begin)};
}

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

std::expected<Value, std::string> parse(std::string_view text, std::uint32_t depth_max) {
    Scanner scanner{text};
    const auto wrong = [&scanner](const char* what) {
        return std::unexpected(std::string(what) + " at byte " + std::to_string(scanner.at));
    };
    scanner.skip_space();
    const std::size_t begin = scanner.at;
    std::vector<bool> open;                  // true: an object.
    bool value_expected = true;
    bool first = false;                      // Just after an opening bracket: a closing one may follow.
    while (true) {
        scanner.skip_space();
        if (!scanner.more()) { return wrong("the JSON text ends too early"); }
        const char c = scanner.peek();
        if (value_expected) {
            const bool closes = first && ((c == '}' && open.back()) || (c == ']' && !open.back()));
            if (!closes && !open.empty() && open.back()) {
                if (c != '"' || !scanner.skip_string()) { return wrong("not a key"); }
                scanner.skip_space();
                if (!scanner.more() || scanner.peek() != ':') { return wrong("no colon"); }
                ++scanner.at;
                scanner.skip_space();
                if (!scanner.more()) { return wrong("the JSON text ends too early"); }
            }
            if (!closes) {
                const char value = scanner.peek();
                if (value == '{' || value == '[') {
                    if (open.size() >= depth_max) {
                        return std::unexpected("deeper than " + std::to_string(depth_max) + " levels");
                    }
                    open.push_back(value == '{');
                    ++scanner.at;
                    first = true;
                    continue;
                }
                if (!scanner.skip_scalar()) { return wrong("not JSON"); }
                first = false;
                value_expected = false;
            }
        } else if (c == ',' && !open.empty()) {
            ++scanner.at;
            value_expected = true;
            first = false;
            continue;
        }
        if (open.empty()) { break; }
        if (value_expected || scanner.more()) {
            scanner.skip_space();
            if (!scanner.more()) { return wrong("the JSON text ends too early"); }
            const char end = scanner.peek();
            if ((end == '}' && open.back()) || (end == ']' && !open.back())) {
                ++scanner.at;
                open.pop_back();
                value_expected = false;
                first = false;
                if (open.empty()) { break; }
            } else if (end != ',') {
                return wrong("not JSON");
            }
        }
    }
    const std::size_t end = scanner.at;
    scanner.skip_space();
    if (scanner.more()) { return wrong("more than one JSON text"); }
    return Value{kind_of(text[begin]), text.substr(begin, end - begin)};
}

std::expected<std::vector<Field>, std::string> fields(const Value& object) {
    std::vector<Field> out;
    out.reserve(6);
    Scanner scanner{object.raw, 1};
    while (true) {
        scanner.skip_space();
        if (scanner.peek() == '}') { break; }
        if (scanner.peek() == ',') {
            ++scanner.at;
            continue;
        }
        const Value key = take_valid(scanner);
        auto name = unescape(key.raw);
        if (!name) { return std::unexpected(std::string("a key with a lone surrogate")); }
        scanner.skip_space();
        ++scanner.at;                        // The colon.
        out.push_back({std::move(*name), take_valid(scanner)});
    }
    constexpr std::size_t kFew = 12;
    if (out.size() <= kFew) {
        for (std::size_t i = 1; i < out.size(); ++i) {
            for (std::size_t k = 0; k < i; ++k) {
                if (out[i].key == out[k].key) { return std::unexpected(out[i].key + ": the key is there twice"); }
            }
        }
        return out;
    }
    // Sorted views find a key twice in n log n, so a frame of many keys costs no more than its bytes.
    std::vector<std::string_view> names;
    names.reserve(out.size());
    for (const auto& field : out) { names.push_back(field.key); }
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) { return std::unexpected(std::string(*twice) + ": the key is there twice"); }
    return out;
}

std::optional<std::vector<Value>> elements(const Value& array, std::size_t count_max) {
    std::vector<Value> out;
    Scanner scanner{array.raw, 1};
    while (true) {
        scanner.skip_space();
        if (scanner.peek() == ']') { return out; }
        if (scanner.peek() == ',') {
            ++scanner.at;
            continue;
        }
        if (out.size() == count_max) { return std::nullopt; }
        out.push_back(take_valid(scanner));
    }
}

std::uint32_t depth(std::string_view raw) {
    std::uint32_t open = 0;
    std::uint32_t deepest = 0;
    Scanner scanner{raw};
    while (scanner.more()) {
        const char c = scanner.peek();
        if (c == '"') {
            scanner.skip_string();
            continue;
        }
        if (c == '{' || c == '[') { deepest = std::max(deepest, ++open); }
        if (c == '}' || c == ']') { --open; }
        ++scanner.at;
    }
    return deepest;
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

std::optional<std::int64_t> integer(std::string_view raw) {
    std::int64_t value = 0;
    const auto [end, failure] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
    if (failure != std::errc{} || end != raw.data() + raw.size()) { return std::nullopt; }
    return value;
}

void append_string(std::string& out, std::string_view text) {
    static constexpr char kDigits[] = "0123456789abcdef";
    static constexpr auto kPlain = [] {
        std::array<bool, 256> plain{};
        for (std::size_t c = 0x20; c < plain.size(); ++c) { plain[c] = c != '"' && c != '\\'; }
        return plain;
    }();
    out += '"';
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (kPlain[c]) { continue; }
        out.append(text, begin, i - begin);
        begin = i + 1;
        if (c == '"' || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
        } else {
            out += "\\u00";
            out += kDigits[c >> 4];
            out += kDigits[c & 15];
        }
    }
    out.append(text, begin);
    out += '"';
}

bool valid_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
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

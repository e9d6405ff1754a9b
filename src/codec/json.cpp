#include "codec/json.h"

#include <algorithm>
#include <charconv>

#include "codec/json_string.h"

namespace starling::codec::json {

namespace {

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
        while ((at = plain_end(text, at)) < text.size()) {
            if (peek() == '"') {
                ++at;
                return true;
            }
            if (peek() != '\\' || ++at >= text.size()) { return false; }
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

std::optional<std::int64_t> integer(std::string_view raw) {
    std::int64_t value = 0;
    const auto [end, failure] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
    if (failure != std::errc{} || end != raw.data() + raw.size()) { return std::nullopt; }
    return value;
}

}  // namespace starling::codec::json

#include "codec/jwt_json.h"

#include <algorithm>

#include "codec/base64.h"
#include "codec/jwt_keys.h"

namespace starling::codec::jwt {
namespace {

constexpr int kDepthMax = 32;

// A strict reader of RFC 8259 that remembers nothing but where it is.
class Reader {
 public:
    explicit Reader(std::string_view text) : text_(text) {}

    bool at_end() {
        skip_space();
        return position_ == text_.size();
    }
    bool take(char wanted) {
        skip_space();
        if (position_ == text_.size() || text_[position_] != wanted) { return false; }
        ++position_;
        return true;
    }
    // The raw text of one value; empty where there is none.
    std::string_view value(int depth) {
        skip_space();
        const std::size_t start = position_;
        if (position_ == text_.size() || depth > kDepthMax) { return {}; }
        const char first = text_[position_];
        const bool good = first == '{'   ? container('{', '}', depth)
                          : first == '[' ? container('[', ']', depth)
                          : first == '"' ? string(nullptr)
                          : first == 't' ? word("true")
                          : first == 'f' ? word("false")
                          : first == 'n' ? word("null")
                                         : number();
        return good ? text_.substr(start, position_ - start) : std::string_view{};
    }
    // Reads a string; unescapes it where `out` is given.
    bool string(std::string* out) {
        if (!take('"')) { return false; }
        while (position_ < text_.size()) {
            const auto c = static_cast<unsigned char>(text_[position_]);
            if (c == '"') {
                ++position_;
                return true;
            }
            if (c < 0x20) { return false; }
            if (c != '\\') {
                const std::size_t size = sequence_size();
                if (size == 0) { return false; }
                if (out != nullptr) { out->append(text_.substr(position_, size)); }
                position_ += size;
            } else if (!escape(out)) {
                return false;
            }
        }
        return false;
    }

 private:
    void skip_space() {
        while (position_ < text_.size() && std::string_view(" \t\r\n").find(text_[position_]) != std::string_view::npos) {
            ++position_;
        }
    }
    bool word(std::string_view wanted) {
        if (!text_.substr(position_).starts_with(wanted)) { return false; }
        position_ += wanted.size();
        return true;
    }
    bool container(char open, char close, int depth) {
        take(open);
        if (take(close)) { return true; }
        do {
            skip_space();
            if (open == '{' && (!string(nullptr) || !take(':'))) { return false; }
            if (value(depth + 1).empty()) { return false; }
        } while (take(','));
        return take(close);
    }
    std::size_t digits() {
        const std::size_t start = position_;
        while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') { ++position_; }
        return position_ - start;
    }
    bool next_is(char wanted) {
        if (position_ == text_.size() || text_[position_] != wanted) { return false; }
        ++position_;
        return true;
    }
    bool number() {
        next_is('-');
        if (!next_is('0') && digits() == 0) { return false; }
        if (next_is('.') && digits() == 0) { return false; }
        if (next_is('e') || next_is('E')) {
            if (!next_is('+')) { next_is('-'); }
            if (digits() == 0) { return false; }
        }
        return true;
    }
    // How many bytes the next character has; 0 where it is not UTF-8 (RFC 3629: no surrogates, no
    // longer form than needed, nothing above U+10FFFF).
    std::size_t sequence_size() const {
        const auto byte = [this](std::size_t i) -> unsigned {
            return position_ + i < text_.size() ? static_cast<unsigned char>(text_[position_ + i]) : 0U;
        };
        const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
            return byte(i) >= low && byte(i) <= high;
        };
        const unsigned first = byte(0);
        if (first < 0x80) { return 1; }
        if (first >= 0xc2 && first <= 0xdf) { return follows(1) ? 2 : 0; }
        if (first >= 0xe0 && first <= 0xef) {
            const bool second = follows(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf);
            return second && follows(2) ? 3 : 0;
        }
        if (first >= 0xf0 && first <= 0xf4) {
            const bool second = follows(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf);
            return second && follows(2) && follows(3) ? 4 : 0;
        }
        return 0;
    }
    std::optional<unsigned> hex4() {
        if (text_.size() - position_ < 4) { return std::nullopt; }
        unsigned code = 0;
        for (int i = 0; i < 4; ++i) {
            const char c = text_[position_++];
            const std::size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c));
            if (digit == std::string_view::npos) { return std::nullopt; }
            code = code * 16 + static_cast<unsigned>(digit);
        }
        return code;
    }
    bool escape(std::string* out) {
        ++position_;                   // The backslash.
        if (position_ == text_.size()) { return false; }
        const char letter = text_[position_++];
        if (letter != 'u') {
            constexpr std::string_view kLetters = "\"\\/bfnrt";
            const std::size_t index = kLetters.find(letter);
            if (index == std::string_view::npos) { return false; }
            if (out != nullptr) { *out += "\"\\/\b\f\n\r\t"[index]; }
            return true;
        }
        auto code = hex4();
        if (!code || (*code >= 0xdc00 && *code <= 0xdfff)) { return false; }
        if (*code >= 0xd800 && *code <= 0xdbff) {
            if (!word("\\u")) { return false; }
            const auto low = hex4();
            if (!low || *low < 0xdc00 || *low > 0xdfff) { return false; }
            code = 0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00);
        }
        if (out != nullptr) { append_utf8(*code, *out); }
        return true;
    }
    static void append_utf8(unsigned code, std::string& out) {
        const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
        if (code < 0x80) {
            out += static_cast<char>(code);
        } else if (code < 0x800) {
            out += static_cast<char>(0xc0 | (code >> 6));
            tail(0);
        } else if (code < 0x10000) {
            out += static_cast<char>(0xe0 | (code >> 12));
            tail(6);
            tail(0);
        } else {
            out += static_cast<char>(0xf0 | (code >> 18));
            tail(12);
            tail(6);
            tail(0);
        }
    }

    std::string_view text_;
    std::size_t position_ = 0;
};

}  // namespace

std::optional<std::vector<Member>> read_object(std::string_view raw) {
    Reader reader(raw);
    std::vector<Member> members;
    if (!reader.take('{')) { return std::nullopt; }
    if (!reader.take('}')) {
        do {
            Member member;
            if (!reader.string(&member.key) || !reader.take(':')) { return std::nullopt; }
            member.value = reader.value(1);
            if (member.value.empty()) { return std::nullopt; }
            members.push_back(std::move(member));
        } while (reader.take(','));
        if (!reader.take('}')) { return std::nullopt; }
    }
    if (!reader.at_end()) { return std::nullopt; }

    // Two readers could each believe another one of two values: none is believed.
    std::vector<std::string_view> keys;
    for (const Member& member : members) { keys.push_back(member.key); }
    std::ranges::sort(keys);
    if (std::ranges::adjacent_find(keys) != keys.end()) { return std::nullopt; }
    return members;
}

std::optional<std::vector<std::string_view>> read_array(std::string_view raw) {
    Reader reader(raw);
    std::vector<std::string_view> entries;
    if (!reader.take('[')) { return std::nullopt; }
    if (!reader.take(']')) {
        do {
            entries.push_back(reader.value(1));
            if (entries.back().empty()) { return std::nullopt; }
        } while (reader.take(','));
        if (!reader.take(']')) { return std::nullopt; }
    }
    if (!reader.at_end()) { return std::nullopt; }
    return entries;
}

std::optional<std::string> read_string(std::string_view raw) {
    Reader reader(raw);
    std::string text;
    if (!reader.string(&text) || !reader.at_end()) { return std::nullopt; }
    return text;
}

std::optional<std::vector<std::string>> read_strings(std::string_view raw) {
    const auto entries = read_array(raw);
    if (!entries) { return std::nullopt; }
    std::vector<std::string> strings;
    for (const std::string_view entry : *entries) {
        auto text = read_string(entry);
        if (!text) { return std::nullopt; }
        strings.push_back(std::move(*text));
    }
    return strings;
}

std::expected<Key, std::string> read_jwk(std::string_view raw, Algorithm algorithm) {
    const auto members = read_object(raw);
    if (!members) { return std::unexpected("a key is not a JSON object"); }
    Jwk jwk;
    std::string kid;
    for (const auto& [key, value] : *members) {
        if (key == "key_ops") {
            const auto operations = read_strings(value);
            if (!operations || std::ranges::find(*operations, "verify") == operations->end()) {
                return std::unexpected("a key is not for verifying");
            }
            continue;
        }
        const auto text = read_string(value);
        if (!text) { continue; }       // x5c and members that we do not know may be anything.
        if (key == "use" && *text != "sig") { return std::unexpected("a key is not for signatures"); }
        if (key == "alg" && *text != name(algorithm)) { return std::unexpected("a key is for " + *text); }
        if (key == "kid") { kid = *text; }
        if (key == "kty") { jwk.kty = *text; }
        if (key == "crv") { jwk.crv = *text; }
        const auto decode_into = [&](std::string& out) { out = decode_base64url(*text).value_or(""); };
        if (key == "n") { decode_into(jwk.n); }
        if (key == "e") { decode_into(jwk.e); }
        if (key == "x") { decode_into(jwk.x); }
        if (key == "y") { decode_into(jwk.y); }
        if (key == "k") { decode_into(jwk.k); }
    }
    auto made = make_jwk_key(algorithm, jwk);
    if (made) { made->kid = std::move(kid); }
    return made;
}

}  // namespace starling::codec::jwt

#pragma once
// What Redis says and hears on the wire: RESP2 replies as values, commands as arrays of bulk strings.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starling::sim {

using Words = std::vector<std::string>;

struct Reply {
    enum class Kind : std::uint8_t { nil, nil_array, integer, bulk, status, error, array };
    Kind kind = Kind::nil;
    std::int64_t integer = 0;
    std::string text;                        // An error's begins with its code.
    std::vector<Reply> elements;

    static Reply nil() { return {}; }
    static Reply number(std::int64_t value) { return {.kind = Kind::integer, .integer = value}; }
    static Reply bulk(std::string text) { return {.kind = Kind::bulk, .text = std::move(text)}; }
    static Reply status(std::string text) { return {.kind = Kind::status, .text = std::move(text)}; }
    static Reply ok() { return status("OK"); }
    static Reply error(std::string text) { return {.kind = Kind::error, .text = std::move(text)}; }
    static Reply array(std::vector<Reply> elements = {}) { return {.kind = Kind::array, .elements = std::move(elements)}; }

    bool is_error() const { return kind == Kind::error; }
    bool operator==(const Reply&) const = default;
};

void append_reply(std::string& out, const Reply& reply);
void append_bulk(std::string& out, std::string_view text);
void append_array(std::string& out, std::size_t count);      // Its elements follow.

// Cuts bytes into commands. Inline commands are not spoken here: they are a broken connection.
class CommandReader {
 public:
    void feed(std::string_view bytes) { buffer_.append(bytes); }
    // Into `words`, whose memory is used again. False: not complete yet, or broken().
    bool next(Words& words);
    bool broken() const { return broken_; }

 private:
    std::string buffer_;
    std::size_t start_ = 0;
    bool broken_ = false;
};

}  // namespace starling::sim

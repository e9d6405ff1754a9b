#include "redis_reply.h"

#include <charconv>

namespace starling::sim {

namespace {

// "*3\r\n" or "$5\r\n" at `at`; moves past it. nullopt with `broken` unset: more bytes are needed.
std::optional<std::int64_t> header(const std::string& bytes, std::size_t& at, char mark, bool& broken) {
    if (at >= bytes.size()) { return std::nullopt; }
    if (bytes[at] != mark) { broken = true; return std::nullopt; }
    const auto end = bytes.find("\r\n", at);
    if (end == std::string::npos) { return std::nullopt; }
    std::int64_t value = 0;
    const auto result = std::from_chars(bytes.data() + at + 1, bytes.data() + end, value);
    if (result.ec != std::errc{} || result.ptr != bytes.data() + end || value < 0 || value > (1 << 29)) {
        broken = true;
        return std::nullopt;
    }
    at = end + 2;
    return value;
}

}  // namespace

std::optional<Words> CommandReader::next() {
    while (!broken_) {
        std::size_t at = start_;
        const auto count = header(buffer_, at, '*', broken_);
        if (!count) { break; }
        Words words;
        while (words.size() < static_cast<std::size_t>(*count)) {
            const auto size = header(buffer_, at, '$', broken_);
            if (!size || buffer_.size() < at + static_cast<std::size_t>(*size) + 2) { break; }
            words.emplace_back(buffer_, at, static_cast<std::size_t>(*size));
            at += static_cast<std::size_t>(*size) + 2;
        }
        if (words.size() < static_cast<std::size_t>(*count)) { break; }
        start_ = at;
        if (words.empty()) { continue; }     // Redis ignores an empty array.
        return words;
    }
    buffer_.erase(0, start_);
    start_ = 0;
    return std::nullopt;
}

void append_reply(std::string& out, const Reply& reply) {
    using enum Reply::Kind;
    switch (reply.kind) {
        case nil: out += "$-1\r\n"; return;
        case nil_array: out += "*-1\r\n"; return;
        case integer: out += ":" + std::to_string(reply.integer) + "\r\n"; return;
        case bulk: out += "$" + std::to_string(reply.text.size()) + "\r\n"; out += reply.text; out += "\r\n"; return;
        case status: out += "+"; out += reply.text; out += "\r\n"; return;
        case error: out += "-"; out += reply.text; out += "\r\n"; return;
        case array:
            out += "*" + std::to_string(reply.elements.size()) + "\r\n";
            for (const auto& element : reply.elements) { append_reply(out, element); }
            return;
    }
}

}  // namespace starling::sim

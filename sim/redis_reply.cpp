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

bool CommandReader::next(Words& words) {
    while (!broken_) {
        std::size_t at = start_;
        const auto count = header(buffer_, at, '*', broken_);
        if (!count) { break; }
        std::size_t read = 0;
        for (; read < static_cast<std::size_t>(*count); ++read) {
            const auto size = header(buffer_, at, '$', broken_);
            if (!size || buffer_.size() < at + static_cast<std::size_t>(*size) + 2) { break; }
            if (words.size() == read) { words.emplace_back(); }
            words[read].assign(buffer_, at, static_cast<std::size_t>(*size));
            at += static_cast<std::size_t>(*size) + 2;
        }
        if (read < static_cast<std::size_t>(*count)) { break; }
        start_ = at;
        if (read == 0) { continue; }         // Redis ignores an empty array.
        words.resize(read);
        return true;
    }
    buffer_.erase(0, start_);
    start_ = 0;
    return false;
}

namespace {

void append_line(std::string& out, char mark, std::int64_t number) {
    char text[24];
    text[0] = mark;
    const auto end = std::to_chars(text + 1, text + sizeof text - 2, number).ptr;
    end[0] = '\r';
    end[1] = '\n';
    out.append(text, static_cast<std::size_t>(end + 2 - text));
}

}  // namespace

void append_bulk(std::string& out, std::string_view text) {
    append_line(out, '$', static_cast<std::int64_t>(text.size()));
    out += text;
    out += "\r\n";
}

void append_array(std::string& out, std::size_t count) { append_line(out, '*', static_cast<std::int64_t>(count)); }

void append_reply(std::string& out, const Reply& reply) {
    using enum Reply::Kind;
    switch (reply.kind) {
        case nil: out += "$-1\r\n"; return;
        case nil_array: out += "*-1\r\n"; return;
        case integer: append_line(out, ':', reply.integer); return;
        case bulk: append_bulk(out, reply.text); return;
        case status: out += "+"; out += reply.text; out += "\r\n"; return;
        case error: out += "-"; out += reply.text; out += "\r\n"; return;
        case array:
            append_array(out, reply.elements.size());
            for (const auto& element : reply.elements) { append_reply(out, element); }
            return;
    }
}

}  // namespace starling::sim

// Where a request's body ends: by its length, or chunk by chunk.

#include <algorithm>

#include "codec/http_pending.h"
#include "codec/http_text.h"

namespace starling::codec::http {

namespace {

// The longest chunk line: 16 hex digits and a short extension, which is read over.
constexpr std::size_t kChunkLineBytes = 256;

int hex_digit(char c) {
    if (is_digit(c)) { return c - '0'; }
    if (c >= 'a' && c <= 'f') { return c - 'a' + 10; }
    if (c >= 'A' && c <= 'F') { return c - 'A' + 10; }
    return -1;
}

}  // namespace

std::size_t Parser::feed_body(std::string_view bytes) {
    const std::size_t size = std::min(bytes.size(), pending_->left);
    pending_->request.body.append(bytes.substr(0, size));
    pending_->left -= size;
    if (pending_->left == 0) { pending_->phase = Phase::whole; }
    return size;
}

// RFC 9112 §7.1: size [;extension] CRLF data CRLF ... 0 CRLF CRLF. Trailers are refused: nothing here
// needs them, and what they say comes too late to be checked.
std::size_t Parser::feed_chunks(std::string_view bytes) {
    Pending& at = *pending_;
    std::size_t used = 0;
    while (used < bytes.size() && at.phase != Phase::whole) {
        if (at.phase == Phase::chunk_data) {
            const std::size_t size = std::min(bytes.size() - used, at.left);
            at.request.body.append(bytes.substr(used, size));
            used += size;
            at.left -= size;
            if (at.left == 0) { at.phase = Phase::chunk_end; }
            continue;
        }
        const char c = bytes[used++];
        if (at.after_cr != (c == '\n')) {
            refuse(400, "a chunk's line must end in CR LF");
            return used;
        }
        if (c == '\r') {
            at.after_cr = true;
        } else if (c == '\n') {
            at.after_cr = false;
            if (at.phase == Phase::last_line) {
                at.phase = Phase::whole;
            } else if (at.phase == Phase::chunk_end) {
                at.phase = Phase::chunk_line;
            } else if (!chunk_line()) {
                return used;
            }
        } else if (at.phase != Phase::chunk_line || !is_line_byte(c) || at.text.size() == kChunkLineBytes) {
            refuse(400, at.phase == Phase::last_line ? "trailers are not accepted" : "a malformed chunk");
            return used;
        } else {
            at.text.push_back(c);
        }
    }
    return used;
}

bool Parser::chunk_line() {
    Pending& at = *pending_;
    std::size_t size = 0;
    std::size_t digits = 0;
    while (digits < at.text.size() && hex_digit(at.text[digits]) >= 0) {
        if (digits == 15) { return refuse(400, "a malformed chunk size"); }
        size = size * 16 + static_cast<std::size_t>(hex_digit(at.text[digits++]));
    }
    const std::string_view rest = trim(std::string_view(at.text).substr(digits));
    const bool is_size_alone = digits == at.text.size();
    if (digits == 0 || (!is_size_alone && !rest.starts_with(';'))) { return refuse(400, "a malformed chunk size"); }
    if (size > at.body_max - at.request.body.size()) { return refuse(413, "the body is longer than allowed here"); }
    at.text.clear();
    at.left = size;
    at.phase = size == 0 ? Phase::last_line : Phase::chunk_data;
    return true;
}

}  // namespace starling::codec::http

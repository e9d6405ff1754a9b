#pragma once
// A request on its way, as the parser's two files see it: http.cpp reads the head, http_body.cpp what follows.

#include <string>

#include "codec/http.h"

namespace starling::codec::http {

enum class Phase : std::uint8_t { head, head_told, body, chunk_line, chunk_data, chunk_end, last_line, whole };

struct Parser::Pending {
    Phase phase = Phase::head;
    std::string text;                  // The head, later a chunk's line, while it is not whole.
    std::size_t line_bytes = 0;        // Of the current line.
    std::size_t line_count = 0;
    std::size_t blank_lines = 0;       // Before the request line.
    bool after_cr = false;
    bool chunked = false;
    std::size_t left = 0;              // Of the body or the chunk.
    std::size_t body_max = 0;
    Request request;
};

}  // namespace starling::codec::http

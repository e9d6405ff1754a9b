// Responses, and the small words of header values.

#include <algorithm>

#include "codec/http.h"
#include "codec/http_text.h"

namespace starling::codec::http {

namespace {

bool is_field_value(std::string_view value) { return std::ranges::all_of(value, is_line_byte); }

void append_header(std::string& out, std::string_view name, std::string_view value) {
    if (!is_token(name) || !is_field_value(value)) { return; }
    out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::string_view reason_phrase(int status) {
    switch (status) {
        case 101: return "Switching Protocols";
        case 200: return "OK";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 304: return "Not Modified";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 411: return "Length Required";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 417: return "Expectation Failed";
        case 426: return "Upgrade Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 503: return "Service Unavailable";
        case 505: return "HTTP Version Not Supported";
        default: return "Error";
    }
}

std::string encode(const Response& response) {
    // RFC 9110 §8.6: no Content-Length in 1xx and 204.
    const bool has_content = response.status >= 200 && response.status != 204 && response.status != 304;
    std::string out;
    out.reserve(160 + response.body.size());
    out.append("HTTP/1.1 ").append(std::to_string(response.status)).append(" ");
    out.append(reason_phrase(response.status)).append("\r\n");
    if (has_content) {
        append_header(out, "Content-Type", response.content_type);
    }
    for (const auto& [name, value] : response.headers) { append_header(out, name, value); }
    if (has_content && !response.stream) {
        append_header(out, "Content-Length", std::to_string(response.body.size()));
    }
    append_header(out, "X-Content-Type-Options", "nosniff");
    if (!response.keep_alive || response.stream) { append_header(out, "Connection", "close"); }
    out.append("\r\n");
    if (has_content && !response.head_only) { out.append(response.body); }
    return out;
}

bool iequals(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, to_lower, to_lower);
}

bool has_token(std::string_view list, std::string_view token) {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        if (iequals(trim(list.substr(0, comma)), token)) { return true; }
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return false;
}

}  // namespace starling::codec::http

#include "codec/http.h"

#include <llhttp.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "codec/http_pending.h"
#include "codec/http_text.h"

namespace starling::codec::http {

namespace {

// What llhttp makes of one head.
struct Split {
    std::string method, target;
    std::vector<Header> headers;
    bool whole = false;
};

int on_url(llhttp_t* parser, const char* at, std::size_t size) {
    static_cast<Split*>(parser->data)->target.append(at, size);
    return 0;
}
int on_field(llhttp_t* parser, const char* at, std::size_t size) {
    static_cast<Split*>(parser->data)->headers.back().first.append(at, size);
    return 0;
}
int on_value(llhttp_t* parser, const char* at, std::size_t size) {
    static_cast<Split*>(parser->data)->headers.back().second.append(at, size);
    return 0;
}
int on_value_end(llhttp_t* parser) {
    static_cast<Split*>(parser->data)->headers.emplace_back();
    return 0;
}
int on_head_end(llhttp_t* parser) {
    Split& split = *static_cast<Split*>(parser->data);
    split.method = llhttp_method_name(static_cast<llhttp_method_t>(parser->method));
    split.whole = true;
    return 1;                          // The body's framing is ours.
}

const llhttp_settings_t& settings() {
    static const llhttp_settings_t instance = [] {
        llhttp_settings_t made;
        llhttp_settings_init(&made);
        made.on_url = on_url;
        made.on_header_field = on_field;
        made.on_header_value = on_value;
        made.on_header_value_complete = on_value_end;
        made.on_headers_complete = on_head_end;
        return made;
    }();
    return instance;
}

// uri-host [":" port], RFC 3986 §3.2.2. Who it names is the caller's affair.
bool is_host(std::string_view host) {
    std::string_view port;
    if (host.starts_with('[')) {
        const std::size_t close = host.find(']');
        if (close == std::string_view::npos || close < 3) { return false; }
        const auto inside = host.substr(1, close - 1);
        const auto is_address_byte = [](char c) {
            return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
        };
        if (!std::ranges::all_of(inside, is_address_byte)) { return false; }
        port = host.substr(close + 1);
        if (!port.empty() && port.front() != ':') { return false; }
    } else {
        const std::size_t colon = std::min(host.find(':'), host.size());
        const auto is_name_byte = [](char c) {
            return is_digit(c) || is_alpha(c) || std::string_view("-._~!$&'()*+;=%").contains(c);
        };
        if (colon == 0 || !std::ranges::all_of(host.substr(0, colon), is_name_byte)) { return false; }
        port = host.substr(colon);
    }
    return port.size() <= 6 && (port.empty() || std::ranges::all_of(port.substr(1), is_digit));
}

// A line "METHOD target HTTP/d.d": why llhttp did not take it.
int request_line_status(std::string_view line) {
    const std::size_t method_end = line.find(' ');
    const std::size_t version_at = line.rfind(' ');
    if (method_end == std::string_view::npos || line.find(' ', method_end + 1) != version_at) { return 400; }
    if (version_at == method_end + 1) { return 400; }   // An empty target.
    const std::string_view method = line.substr(0, method_end);
    const std::string_view version = line.substr(version_at + 1);
    // The preface of HTTP/2 is no request at all.
    if (!is_token(method) || method == "PRI") { return 400; }
    const bool is_version = version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) &&
                            version[6] == '.' && is_digit(version[7]);
    if (!is_version) { return 400; }
    if (version != "HTTP/1.1" && version != "HTTP/1.0") { return 505; }
    return 200;
}

bool is_known_method(std::string_view method) {
    for (const std::string_view known : {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"}) {
        if (method == known) { return true; }
    }
    return false;
}

}  // namespace

Parser::Parser(const Limits& limits) : limits_(limits) {}
Parser::Parser(Parser&&) noexcept = default;
Parser& Parser::operator=(Parser&&) noexcept = default;
Parser::~Parser() = default;

const std::string* Request::header(std::string_view name) const {
    const auto found = std::ranges::find(headers, name, &Header::first);
    return found == headers.end() ? nullptr : &found->second;
}

std::size_t Request::header_count(std::string_view name) const {
    return static_cast<std::size_t>(std::ranges::count(headers, name, &Header::first));
}

std::string_view Request::path() const { return std::string_view(target).substr(0, target.find('?')); }

bool Parser::refuse(int status, std::string_view reason) {
    status_ = status;
    reason_ = reason;
    pending_.reset();
    return false;
}

Parser::Step Parser::feed(std::string_view bytes) {
    std::size_t consumed = 0;
    if (status_ == 0 && pending_ == nullptr) {
        if (bytes.empty()) { return {}; }
        pending_ = std::make_unique<Pending>();
    }
    if (status_ == 0 && pending_->phase == Phase::head) {
        consumed = feed_head(bytes);
        if (status_ == 0) {
            return {pending_->phase == Phase::head ? Status::need_more : Status::head, consumed};
        }
    }
    if (status_ == 0 && pending_->phase == Phase::head_told) {
        pending_->phase = pending_->chunked ? Phase::chunk_line
                          : pending_->left > 0 ? Phase::body : Phase::whole;
        if (pending_->left > pending_->body_max) { refuse(413, "the body is longer than allowed here"); }
    }
    if (status_ == 0 && pending_->phase != Phase::whole) {
        consumed = pending_->phase == Phase::body ? feed_body(bytes) : feed_chunks(bytes);
    }
    if (status_ != 0) { return {Status::failed, consumed}; }
    return {pending_->phase == Phase::whole ? Status::complete : Status::need_more, consumed};
}

const Request& Parser::request() const {
    static const Request kNone;
    return pending_ == nullptr ? kNone : pending_->request;
}

void Parser::set_body_limit(std::size_t bytes) {
    CHECK(pending_ != nullptr && pending_->phase == Phase::head_told);
    pending_->body_max = bytes;
}

Request Parser::take() {
    CHECK(pending_ != nullptr && pending_->phase == Phase::whole);
    Request request = std::move(pending_->request);
    pending_.reset();
    return request;
}

std::size_t Parser::feed_head(std::string_view bytes) {
    std::size_t used = 0;
    while (used < bytes.size() && pending_->phase == Phase::head) {
        used += rest_of_line(bytes.substr(used));
        if (used < bytes.size() && !head_byte(bytes[used++])) { return used; }
    }
    // Copied once a feed, not once a byte; blank lines in front of the request are not part of it.
    std::string& text = pending_->text;
    text.append(bytes.substr(0, used));
    if (pending_->phase == Phase::head) {
        if (pending_->line_count == 0 && pending_->line_bytes == 0) { text.clear(); }
        return used;
    }
    text.erase(0, std::min(text.find_first_not_of("\r\n"), text.size()));
    finish_head();
    return used;
}

// How many bytes only make a begun line longer: what head_byte would take one by one.
std::size_t Parser::rest_of_line(std::string_view bytes) {
    Pending& at = *pending_;
    if (at.after_cr || at.line_bytes == 0) { return 0; }
    std::size_t most = limits_.head_bytes - std::min(at.text.size(), limits_.head_bytes);
    if (at.line_count == 0) { most = std::min(most, limits_.target_bytes + 32); }
    most = std::min(bytes.size(), most - std::min(at.line_bytes, most));
    const auto end = std::find_if_not(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(most), is_line_byte);
    const auto count = static_cast<std::size_t>(end - bytes.begin());
    at.line_bytes += count;
    return count;
}

// One byte of the head: the rules that hold before anything is split.
bool Parser::head_byte(char c) {
    Pending& at = *pending_;
    if (at.after_cr != (c == '\n')) { return refuse(400, "a line must end in CR LF"); }
    if (c == '\r') {
        at.after_cr = true;
        return true;
    }
    if (c == '\n') {
        at.after_cr = false;
        if (at.line_bytes > 0) {
            at.line_bytes = 0;
            // The request line is not a header.
            if (++at.line_count > limits_.headers + 1) { return refuse(431, "too many headers"); }
        } else if (at.line_count > 0) {
            at.phase = Phase::head_told;
        } else if (++at.blank_lines > 1) {
            // RFC 9112 §2.2 lets an empty line pass that an old client sends after a body.
            return refuse(400, "empty lines in place of a request");
        }
        return true;
    }
    if (!is_line_byte(c)) { return refuse(400, "a control character in the head"); }
    if (at.line_bytes == 0 && (c == ' ' || c == '\t')) { return refuse(400, "a folded header line"); }
    ++at.line_bytes;
    if (at.line_count == 0 && at.line_bytes > limits_.target_bytes + 32) {
        return refuse(414, "the request target is too long");
    }
    // `text` holds what came by earlier feeds; a line of this one counts by itself, which bounds both.
    if (at.text.size() + at.line_bytes > limits_.head_bytes) { return refuse(431, "the head is too long"); }
    return true;
}

void Parser::finish_head() {
    if (pending_->text.size() > limits_.head_bytes) {
        refuse(431, "the head is too long");
        return;
    }
    if (split_head() && check_headers() && check_target() && check_framing()) {
        std::string().swap(pending_->text);
    }
}

bool Parser::split_head() {
    const std::string_view text = pending_->text;
    const std::string_view line = text.substr(0, text.find('\r'));
    if (const int status = request_line_status(line); status != 200) {
        return refuse(status, status == 505 ? "only HTTP/1.1 and HTTP/1.0 are spoken" : "no HTTP request line");
    }
    if (!is_known_method(line.substr(0, line.find(' ')))) { return refuse(501, "an unknown method"); }

    Split split;
    split.headers.emplace_back();
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings());
    parser.data = &split;
    const llhttp_errno_t error = llhttp_execute(&parser, text.data(), text.size());
    const bool is_taken = error == HPE_OK || (error == HPE_PAUSED_UPGRADE &&
                                              llhttp_get_error_pos(&parser) == text.data() + text.size());
    if (!is_taken || !split.whole) { return refuse(400, "a malformed head"); }
    split.headers.pop_back();          // The one begun after the last.
    // One line, one header: had llhttp joined or dropped a line, it would have read another request.
    if (split.headers.size() + 1 != pending_->line_count) { return refuse(400, "a malformed header line"); }

    Request& request = pending_->request;
    request.method = std::move(split.method);
    request.target = std::move(split.target);
    request.minor = llhttp_get_http_minor(&parser);
    request.headers = std::move(split.headers);
    return true;
}

bool Parser::check_target() {
    Request& request = pending_->request;
    std::string& target = request.target;
    if (target.size() > limits_.target_bytes) { return refuse(414, "the request target is too long"); }
    const auto is_target_byte = [](char c) { return c > 0x20 && c < 0x7f && c != '#'; };
    if (!std::ranges::all_of(target, is_target_byte)) { return refuse(400, "a malformed request target"); }

    const std::size_t hosts = request.header_count("host");
    if (hosts > 1 || (hosts == 0 && request.minor == 1)) { return refuse(400, "one Host header is needed"); }
    const std::string_view host = hosts == 1 ? *request.header("host") : std::string_view();
    if (hosts == 1 && !is_host(host)) { return refuse(400, "a malformed Host header"); }

    if (target.starts_with('/') || (target == "*" && request.method == "OPTIONS")) { return true; }
    // Absolute-form: RFC 9112 §3.2.2 lets it win over Host; two different ones are two readings.
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!iequals(std::string_view(target).substr(0, scheme.size()), scheme)) { continue; }
        const std::size_t path = std::min(target.find_first_of("/?", scheme.size()), target.size());
        const auto authority = std::string_view(target).substr(scheme.size(), path - scheme.size());
        if (!iequals(authority, host)) { return refuse(400, "the target names another host than Host"); }
        target.erase(0, path);
        if (!target.starts_with('/')) { target.insert(0, "/"); }
        return true;
    }
    return refuse(400, "a malformed request target");
}

bool Parser::check_headers() {
    Request& request = pending_->request;
    bool is_websocket = false, asks_upgrade = false, asks_close = false;
    for (auto& [name, value] : request.headers) {
        if (!is_token(name)) { return refuse(400, "a malformed header name"); }
        std::ranges::transform(name, name.begin(), to_lower);
        // Content-Length is digits and nothing else, not even white space behind them.
        const bool is_length = name == "content-length";
        if (const auto trimmed = trim(value); !is_length && trimmed.size() != value.size()) { value = std::string(trimmed); }
        if (name == "connection") {
            asks_upgrade |= has_token(value, "upgrade");
            asks_close |= has_token(value, "close");
        } else if (name == "upgrade") {
            is_websocket |= has_token(value, "websocket");
        } else if (name == "expect") {
            if (!iequals(value, "100-continue")) { return refuse(417, "Expect knows only 100-continue"); }
            request.expects_continue = request.minor == 1;
        } else if (name == "content-encoding") {
            if (!iequals(value, "identity")) { return refuse(415, "an encoded body is not accepted"); }
        }
    }
    request.keep_alive = !asks_close && request.minor == 1;
    request.upgrade = request.method == "GET" && request.minor == 1 && asks_upgrade && is_websocket;
    return true;
}

// RFC 9112 §6: how long the body is. Anything but one plain length or `chunked` is refused.
bool Parser::check_framing() {
    Request& request = pending_->request;
    const std::size_t lengths = request.header_count("content-length");
    const std::size_t encodings = request.header_count("transfer-encoding");
    if (lengths + encodings > 1) { return refuse(400, "the body's length is told more than once"); }
    // A body behind an upgrade would be read as the next protocol's first bytes, or the other way round.
    if (lengths + encodings > 0 && request.method == "GET" && request.header("upgrade") != nullptr) {
        return refuse(400, "an upgrade has no body");
    }
    if (encodings == 1) {
        if (request.minor == 0) { return refuse(400, "HTTP/1.0 has no Transfer-Encoding"); }
        if (!iequals(*request.header("transfer-encoding"), "chunked")) {
            return refuse(400, "Transfer-Encoding knows only chunked");
        }
        pending_->chunked = true;
    }
    if (lengths == 1) {
        const std::string_view text = *request.header("content-length");
        const bool is_number = !text.empty() && std::ranges::all_of(text, is_digit);
        std::int64_t length = 0;       // Signed, so that 2^63 and more do not fit.
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
        if (!is_number || error != std::errc()) { return refuse(400, "a malformed Content-Length"); }
        pending_->left = static_cast<std::size_t>(length);
    }
    request.expects_continue &= pending_->chunked || pending_->left > 0;
    return true;
}

}  // namespace starling::codec::http

#include "codec/http.h"

#include <llhttp.h>

#include <algorithm>

#include "codec/json.h"

namespace starling::codec::http {

namespace {

void to_lower(std::string& text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') { c = static_cast<char>(c + 32); }
    }
}

bool all_digits(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

const std::string* Request::header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
        if (key == name) { return &value; }
    }
    return nullptr;
}

std::string_view Request::path() const { return std::string_view(target).substr(0, target.find('?')); }

struct Parser::State {
    explicit State(const Limits& limits_in) : limits(limits_in) {
        llhttp_settings_init(&settings);
        settings.on_message_begin = [](llhttp_t* p) { return self(p).begin(); };
        settings.on_url = [](llhttp_t* p, const char* at, size_t n) { return self(p).url({at, n}); };
        settings.on_header_field = [](llhttp_t* p, const char* at, size_t n) { return self(p).field({at, n}); };
        settings.on_header_value = [](llhttp_t* p, const char* at, size_t n) { return self(p).value({at, n}); };
        settings.on_header_value_complete = [](llhttp_t* p) { return self(p).value_complete(); };
        settings.on_headers_complete = [](llhttp_t* p) { return self(p).head_complete(); };
        settings.on_body = [](llhttp_t* p, const char* at, size_t n) { return self(p).body({at, n}); };
        settings.on_message_complete = [](llhttp_t*) { return static_cast<int>(HPE_PAUSED); };
        reset();
    }
    static State& self(llhttp_t* parser) { return *static_cast<State*>(parser->data); }
    void reset() {
        llhttp_init(&parser, HTTP_REQUEST, &settings);
        parser.data = this;
        request = Request{};
        head_bytes = 0;
        body_limit = SIZE_MAX;
        started = false;
        in_head = true;
        in_trailer = false;
        in_value = false;
    }
    int refuse(int code, std::string_view why) {
        status = code;
        reason = why;
        return HPE_USER;
    }
    int count(std::size_t size) {
        head_bytes += size;
        return head_bytes > limits.head_bytes ? refuse(431, "the header is larger than 64 KiB") : 0;
    }
    int begin() {
        started = true;
        return 0;
    }
    int url(std::string_view part) {
        request.target += part;
        if (request.target.size() > limits.target_bytes) { return refuse(414, "the target is longer than 8 KiB"); }
        return 0;
    }
    int field(std::string_view part) {
        if (!in_head) { in_trailer = true; }
        if (in_value || request.headers.empty()) {
            if (request.headers.size() >= limits.headers) { return refuse(431, "more than 100 headers"); }
            if (!in_trailer) { request.headers.emplace_back(); }
            in_value = false;
        }
        if (!in_trailer) { request.headers.back().first += part; }
        return count(part.size());
    }
    int value(std::string_view part) {
        if (!in_trailer) { request.headers.back().second += part; }
        return count(part.size());
    }
    int value_complete() {
        in_value = true;
        return 0;
    }
    int body(std::string_view part) {
        if (request.body.size() + part.size() > body_limit) { return refuse(413, "the body is too large"); }
        request.body += part;
        return 0;
    }
    int head_complete() {
        in_head = false;
        request.method = llhttp_method_name(static_cast<llhttp_method_t>(parser.method));
        request.keep_alive = llhttp_should_keep_alive(&parser) != 0;
        if (parser.http_major != 1 || parser.http_minor > 1) { return refuse(505, "HTTP/1.1 only"); }
        const bool http10 = parser.http_minor == 0;
        int hosts = 0;
        int lengths = 0;
        int encodings = 0;
        bool body_follows = false;
        bool wants_upgrade = false;
        for (auto& [name, text] : request.headers) {
            to_lower(name);
            while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) { text.pop_back(); }
            if (name == "host") { ++hosts; }
            if (name == "upgrade") { wants_upgrade = true; }
            if (name == "content-length") {
                ++lengths;
                if (!all_digits(text) || text.size() > 18) { return refuse(400, "Content-Length is not a number"); }
                body_follows = body_follows || text.find_first_not_of('0') != std::string::npos;
            }
            if (name == "transfer-encoding") {
                ++encodings;
                body_follows = true;
                std::string lower = text;
                to_lower(lower);
                if (lower != "chunked") { return refuse(http10 ? 400 : 501, "Transfer-Encoding is not chunked"); }
            }
            if (name == "content-encoding" && text != "identity") { return refuse(415, "Content-Encoding is not supported"); }
        }
        if (hosts > 1 || (hosts == 0 && !http10)) { return refuse(400, "Host is not there exactly once"); }
        if (lengths > 1 || encodings > 1 || (lengths > 0 && encodings > 0) || (encodings > 0 && http10)) {
            return refuse(400, "the body's length is ambiguous");
        }
        if (hosts == 1) {
            const std::string& host = *request.header("host");
            if (host.empty() || host.find_first_of(" \t,/@?#\\<>\"") != std::string::npos) { return refuse(400, "Host is not a host"); }
            if (request.target.starts_with("http://") || request.target.starts_with("https://")) {
                const std::size_t begin = request.target.find("//") + 2;
                const std::size_t slash = request.target.find_first_of("/?", begin);
                if (request.target.substr(begin, slash - begin) != host) { return refuse(400, "the target names another host"); }
                request.target = slash == std::string::npos ? "/" : request.target.substr(slash);
            }
        }
        if (wants_upgrade && body_follows) { return refuse(400, "an upgrade has no body"); }
        request.upgrade = wants_upgrade;
        if (request.method == "CONNECT") { return refuse(405, "CONNECT is not served"); }
        head_done = true;
        return HPE_PAUSED;
    }

    Limits limits;
    llhttp_settings_t settings{};
    llhttp_t parser{};
    Request request;
    std::size_t head_bytes = 0;
    std::size_t body_limit = SIZE_MAX;
    bool started = false, in_head = true, in_trailer = false, in_value = false, head_done = false;
    bool paused = false;
    int status = 400;
    std::string reason;
};

Parser::Parser(const Limits& limits) : state_(std::make_unique<State>(limits)) {}
Parser::~Parser() = default;
Parser::Parser(Parser&&) noexcept = default;

void Parser::set_body_limit(std::size_t bytes) { state_->body_limit = bytes; }
const Request& Parser::request() const { return state_->request; }
bool Parser::started() const { return state_->started; }
int Parser::error_status() const { return state_->status; }
std::string_view Parser::error_reason() const { return state_->reason; }

Request Parser::take() {
    Request out = std::move(state_->request);
    state_->reset();
    return out;
}

Parser::Step Parser::feed(std::string_view bytes) {
    State& s = *state_;
    if (s.paused) {
        s.paused = false;
        // After the head: a Content-Length past the limit is refused before the body is read.
        if ((s.parser.flags & F_CONTENT_LENGTH) != 0 && s.parser.content_length > s.body_limit) {
            s.refuse(413, "the body is too large");
            return {Status::failed, 0};
        }
        llhttp_resume(&s.parser);
    }
    const llhttp_errno_t result = llhttp_execute(&s.parser, bytes.data(), bytes.size());
    if (result == HPE_OK) {
        s.started = s.started || !bytes.empty();
        return {Status::need_more, bytes.size()};
    }
    const char* at = llhttp_get_error_pos(&s.parser);
    const std::size_t consumed = at == nullptr ? bytes.size() : static_cast<std::size_t>(at - bytes.data());
    if (result == HPE_PAUSED && s.head_done) {
        s.head_done = false;
        s.paused = true;
        return {Status::head, consumed};
    }
    if (result == HPE_PAUSED || result == HPE_PAUSED_UPGRADE) { return {Status::complete, consumed}; }
    if (result != HPE_USER && result != HPE_CB_HEADERS_COMPLETE) {
        s.status = 400;
        s.reason = llhttp_get_error_reason(&s.parser);
    }
    return {Status::failed, consumed};
}

std::string_view reason_phrase(int status) {
    switch (status) {
        case 101: return "Switching Protocols";
        case 200: return "OK";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 304: return "Not Modified";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 426: return "Upgrade Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 501: return "Not Implemented";
        case 503: return "Service Unavailable";
        case 505: return "HTTP Version Not Supported";
        default: return "Error";
    }
}

std::string encode(const Response& response) {
    std::string out = "HTTP/1.1 " + std::to_string(response.status) + ' ' + std::string(reason_phrase(response.status)) + "\r\n";
    if (response.status != 204) {
        out += "Content-Type: ";
        out += response.content_type;
        out += "\r\nContent-Length: " + std::to_string(response.body.size()) + "\r\n";
    }
    for (const auto& [name, value] : response.headers) {
        if (value.find_first_of("\r\n") != std::string_view::npos) { continue; }
        out.append(name).append(": ").append(value).append("\r\n");
    }
    out += "X-Content-Type-Options: nosniff\r\n";
    if (!response.keep_alive) { out += "Connection: close\r\n"; }
    out += "\r\n";
    if (!response.head_only && response.status != 204) { out += response.body; }
    return out;
}

bool percent_decode(std::string_view text, bool plus_is_space, std::string& out) {
    out.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+' && plus_is_space) {
            out += ' ';
        } else if (text[i] != '%') {
            out += text[i];
        } else {
            if (i + 2 >= text.size()) { return false; }
            int value = 0;
            for (const char c : text.substr(i + 1, 2)) {
                const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
                if (digit < 0) { return false; }
                value = value * 16 + digit;
            }
            out += static_cast<char>(value);
            i += 2;
        }
    }
    return json::valid_utf8(out);
}

bool parse_query(std::string_view query, std::vector<std::pair<std::string, std::string>>& out) {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view part = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        if (part.empty()) { continue; }
        const std::size_t equals = std::min(part.find('='), part.size());
        std::string key;
        std::string value;
        if (!percent_decode(part.substr(0, equals), true, key)) { return false; }
        if (equals < part.size() && !percent_decode(part.substr(equals + 1), true, value)) { return false; }
        out.emplace_back(std::move(key), std::move(value));
    }
    return true;
}

}  // namespace starling::codec::http

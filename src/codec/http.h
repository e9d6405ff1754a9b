#pragma once
// HTTP/1.1 requests out of bytes, and responses into bytes (RFC 9110, RFC 9112), strict: whatever two
// readers could frame differently is refused, so that no proxy in front sees other requests than we do
// (security.md H1 to H22).
//
//   feed ──> need_more ... head ──(set_body_limit)──> need_more ... complete ──take()──> the next one
//              └──────────────┴───────────────────────────┴──> failed: answer, then close
//
// A head is held until it is whole, checked byte by byte as it comes, then split by llhttp. Between
// requests the parser owns no memory.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace starling::codec::http {

using Header = std::pair<std::string, std::string>;

struct Request {
    std::string method;
    std::string target;                      // Origin-form with its query; "http://host" is cut off.
    std::vector<Header> headers;             // Names in lower case, values without white space around.
    std::string body;
    int minor = 1;                           // HTTP/1.1 or HTTP/1.0.
    bool keep_alive = true;                  // Never with HTTP/1.0.
    bool upgrade = false;                    // A GET that asks for WebSocket; it has no body.
    bool expects_continue = false;           // Write kContinue, or an answer, before the body comes.

    // The first header of that (lower case) name; nullptr where there is none.
    const std::string* header(std::string_view name) const;
    std::size_t header_count(std::string_view name) const;
    std::string_view path() const;           // The target without its query.
};

struct Limits {
    std::size_t head_bytes = 65536;          // Request line and headers; more is 431.
    std::size_t headers = 100;               // More is 431.
    std::size_t target_bytes = 8192;         // More is 414.
};

class Parser {
 public:
    enum class Status : std::uint8_t { need_more, head, complete, failed };
    struct Step {
        Status status = Status::need_more;
        std::size_t consumed = 0;            // What is left belongs to the next request or protocol.
    };

    explicit Parser(const Limits& limits = {});
    ~Parser();
    Parser(Parser&&) noexcept;
    Parser& operator=(Parser&&) noexcept;

    // Feed what is left, also nothing, until it says need_more or failed.
    Step feed(std::string_view bytes);
    // After `head`, before the next feed: how many bytes the body may have; without it none. A longer
    // Content-Length is 413 before any of the body is read.
    void set_body_limit(std::size_t bytes);
    const Request& request() const;          // From `head` on; else an empty one.
    Request take();                          // After `complete`; the parser is ready for the next request.
    bool started() const { return pending_ != nullptr || status_ != 0; }   // Bytes of a request have come.
    int error_status() const { return status_; }   // After `failed`: 400, 413, 414, 415, 417, 431, 501 or 505.
    std::string_view error_reason() const { return reason_; }

 private:
    struct Pending;

    std::size_t feed_head(std::string_view bytes);
    std::size_t rest_of_line(std::string_view bytes);
    bool head_byte(char c);
    void finish_head();
    bool split_head();
    bool check_target();
    bool check_headers();
    bool check_framing();
    std::size_t feed_body(std::string_view bytes);
    std::size_t feed_chunks(std::string_view bytes);
    bool chunk_line();
    bool refuse(int status, std::string_view reason);

    Limits limits_;
    std::unique_ptr<Pending> pending_;
    int status_ = 0;
    std::string_view reason_;
};

inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

struct Response {
    int status = 200;
    std::string_view content_type = "application/json";
    std::string_view body;
    bool keep_alive = true;
    bool head_only = false;                  // HEAD: the length without the body.
    bool stream = false;                     // No length: what follows ends with the connection.
    // Extra headers. One whose name is no token or whose value has a control character is left out, so
    // that nothing reflected can split a response.
    std::vector<std::pair<std::string_view, std::string_view>> headers;
};
std::string encode(const Response& response);
std::string_view reason_phrase(int status);

// Whether a comma-separated header value holds `token`; any case.
bool has_token(std::string_view list, std::string_view token);
bool iequals(std::string_view a, std::string_view b);

// Strict percent-decoding to valid UTF-8; false where it is neither.
bool percent_decode(std::string_view text, bool plus_is_space, std::string& out);

// Key and value of each part of a query, decoded; false where one is malformed.
bool parse_query(std::string_view query, std::vector<std::pair<std::string, std::string>>& out);

}  // namespace starling::codec::http

#pragma once
// HTTP/1.1 requests through llhttp in strict mode, and what it does not refuse by itself: a strange
// Content-Length or Transfer-Encoding, two Hosts, an upgrade with a body (security.md H1 to H22).
//
//   feed(bytes) -> need_more | head (set the body limit, go on) | complete | failed(status)

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace starling::codec::http {

struct Request {
    std::string method;
    std::string target;                      // As sent, with its query.
    std::vector<std::pair<std::string, std::string>> headers;   // Names in lower case.
    std::string body;
    bool keep_alive = true;
    bool upgrade = false;

    // The first header of that (lower case) name; nullptr where there is none.
    const std::string* header(std::string_view name) const;
    std::string_view path() const;           // The target without its query.
};

struct Limits {
    std::size_t head_bytes = 65536;
    std::size_t headers = 100;
    std::size_t target_bytes = 8192;
};

class Parser {
 public:
    enum class Status : std::uint8_t { need_more, head, complete, failed };
    struct Step {
        Status status = Status::need_more;
        std::size_t consumed = 0;
    };

    explicit Parser(const Limits& limits = {});
    ~Parser();
    Parser(Parser&&) noexcept;

    // After `head`, before the next feed: how many bytes the body may have.
    void set_body_limit(std::size_t bytes);
    Step feed(std::string_view bytes);
    const Request& request() const;
    Request take();                          // After `complete`; the parser is ready for the next request.
    bool started() const;                    // Bytes of a request have come.
    int error_status() const;                // After `failed`: 400, 413, 414, 415, 431, 501 or 505.
    std::string_view error_reason() const;

 private:
    struct State;
    std::unique_ptr<State> state_;
};

struct Response {
    int status = 200;
    std::string_view content_type = "application/json";
    std::string_view body;
    bool keep_alive = true;
    bool head_only = false;                  // HEAD: the length without the body.
    // Extra headers; a value with CR or LF is left out.
    std::vector<std::pair<std::string_view, std::string_view>> headers;
};
std::string encode(const Response& response);
std::string_view reason_phrase(int status);

// Strict percent-decoding to valid UTF-8; false where it is neither.
bool percent_decode(std::string_view text, bool plus_is_space, std::string& out);

// Key and value of each part of a query, decoded; false where one is malformed.
bool parse_query(std::string_view query, std::vector<std::pair<std::string, std::string>>& out);

}  // namespace starling::codec::http

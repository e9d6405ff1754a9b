// Requests from strangers. However the bytes are cut into feeds, the same requests come out of them.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "codec/http.h"

using namespace starling::codec;

namespace {

constexpr std::size_t kBodyMax = 4096;

// Every request and the end, written down with lengths so that two readings can be compared.
std::string read_all(std::string_view bytes, std::size_t step_bytes) {
    http::Parser parser;
    std::string out;
    const auto note = [&](std::string_view text) { out.append(std::to_string(text.size())).append(":").append(text); };
    std::size_t at = 0;
    while (true) {
        const auto step = parser.feed(bytes.substr(at, step_bytes));
        CHECK(step.consumed <= bytes.size() - at);
        at += step.consumed;
        if (step.status == http::Parser::Status::failed) {
            CHECK(parser.error_status() >= 400);
            return out + "!" + std::to_string(parser.error_status());
        }
        if (step.status == http::Parser::Status::head) {
            parser.set_body_limit(kBodyMax);
        } else if (step.status == http::Parser::Status::complete) {
            const http::Request request = parser.take();
            CHECK(!parser.started());
            CHECK(request.body.size() <= kBodyMax && request.headers.size() <= 100);
            CHECK(request.target.starts_with('/') || request.target == "*");
            CHECK(!request.upgrade || request.body.empty());
            CHECK(request.header_count("host") <= 1 && request.header_count("content-length") <= 1);
            note(request.method);
            note(request.target);
            for (const auto& [name, value] : request.headers) {
                CHECK(name.find_first_of(" \r\n:") == std::string::npos && value.find_first_of("\r\n") == std::string::npos);
                note(name);
                note(value);
            }
            note(request.body);
        } else if (at == bytes.size()) {
            return out + (parser.started() ? "?" : ".");
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const std::string whole = read_all(bytes, std::max<std::size_t>(size, 1));
    CHECK(read_all(bytes, 1) == whole);
    CHECK(read_all(bytes, 7) == whole);

    // Nothing reflected makes a second header or a second response.
    const std::string answer = http::encode({.status = 400, .body = "{}", .headers = {{"X", bytes}, {bytes, "x"}}});
    CHECK(answer.find("\r\n\r\n") == answer.size() - 6);
    std::string decoded;
    std::vector<std::pair<std::string, std::string>> query;
    (void)http::percent_decode(bytes, false, decoded);
    (void)http::parse_query(bytes, query);
    return 0;
}

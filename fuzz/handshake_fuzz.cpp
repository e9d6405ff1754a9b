// Upgrade requests: each line of the input is a header `name:value`. What is accepted must answer with
// one header block that nothing of the request can break out of.

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "codec/handshake.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace starling::codec::websocket;
    static constexpr std::string_view kSpoken[] = {"starling.v1.json"};
    std::vector<std::pair<std::string_view, std::string_view>> headers{
        {"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Version", "13"}};
    std::string_view text(reinterpret_cast<const char*>(data), size);
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        const std::string_view line = text.substr(0, end);
        text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
        const std::size_t colon = line.find(':');
        headers.emplace_back(line.substr(0, colon), colon == std::string_view::npos ? "" : line.substr(colon + 1));
    }
    const auto handshake = accept_handshake({.method = "GET", .headers = headers}, {.subprotocols = kSpoken});
    if (!handshake) {
        const int status = handshake.error().status;
        CHECK(status == 400 || status == 426);
        return 0;
    }
    CHECK(handshake->response.find("\r\n\r\n") == handshake->response.size() - 4);
    CHECK(handshake->subprotocol.empty() || handshake->subprotocol == kSpoken[0]);
    if (handshake->deflate) {
        CHECK(handshake->deflate->server_window_bits >= 8);
        CHECK(handshake->deflate->server_window_bits <= 15);
    }
    return 0;
}

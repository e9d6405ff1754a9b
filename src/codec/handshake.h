#pragma once
// The opening handshake of RFC 6455 §4.2 as a value: a parsed request in, the bytes of the answer
// and what was agreed out. The first offer that fits wins; what is unknown is declined, not refused.

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "codec/error.h"

namespace starling::codec::websocket {

struct HandshakeRequest {
    std::string_view method;
    bool http_1_1 = true;  // RFC 6455 §4.1: at least 1.1.
    // Names in any case, as they came; a name may come more than once.
    std::span<const std::pair<std::string_view, std::string_view>> headers;
};

struct HandshakeOptions {
    // What the endpoint speaks; none of them in the client's list means none is chosen.
    std::span<const std::string_view> subprotocols;
    bool deflate = true;
    // Whole lines, each with its CRLF, added to the answer as they are.
    std::string_view extra_headers = {};
};

// What of RFC 7692 both sides hold to. Neither side keeps a context between messages (decision 0003).
struct DeflateAgreement {
    std::uint8_t server_window_bits = 15;  // 8 to 15: our messages reach no further back than 2^n.

    bool operator==(const DeflateAgreement&) const = default;
};

struct Handshake {
    std::string response;     // The whole 101, ready to send.
    std::string subprotocol;  // Empty: none.
    std::optional<DeflateAgreement> deflate;
};

struct HandshakeError {
    int status = 400;      // 400, 405 or 426.
    std::string message;
    std::string response;  // The whole answer with a JSON body and `Connection: close`.
};

std::expected<Handshake, HandshakeError> accept_handshake(const HandshakeRequest& request,
                                                          const HandshakeOptions& options);

// Sec-WebSocket-Accept for a key; clients check it (tests, tools).
std::string accept_key(std::string_view key);

}  // namespace starling::codec::websocket

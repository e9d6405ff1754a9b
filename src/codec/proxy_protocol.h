#pragma once
// The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): what a proxy writes in front of a
// connection's first byte to say whose it is. Neither form can begin an HTTP request or a TLS handshake,
// so a connection without it is told apart by its first bytes.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace starling::codec {

struct ProxyHeader {
    enum class Status : std::uint8_t {
        need_more,   // Could still become one.
        absent,      // The connection begins with something else.
        complete,
        malformed,   // Begins like one and is none.
    };
    Status status = Status::need_more;
    std::size_t consumed = 0;                // With `complete`: the header's size.
    // The client's, as inet_ntop writes it; empty where the proxy speaks for itself (LOCAL, a health
    // check) or does not know (UNKNOWN).
    std::string address;
    std::uint16_t port = 0;
};

// Version 2 may carry extensions behind the addresses, which are read over, up to this size.
inline constexpr std::size_t kProxyHeaderBytesMax = 4096;

ProxyHeader read_proxy_header(std::string_view bytes);

}  // namespace starling::codec

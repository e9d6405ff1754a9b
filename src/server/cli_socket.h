#pragma once
// A blocking WebSocket client for the command line: no compression, text only, pings answered.

#include <chrono>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <curl/curl.h>

#include "base/time.h"
#include "codec/websocket.h"

namespace starling::server {

class ClientSocket {
 public:
    // `base` is "http://host:port" or "https://host:port", perhaps with the path under which a proxy has the gateway; TLS is
    // verified. `patience` is for the answer to the handshake.
    static std::expected<ClientSocket, std::string> open(const std::string& base, const std::string& path, Duration patience = 10s);

    std::expected<void, std::string> send_text(std::string_view text) { return send_frame(Opcode::text, text); }
    // Waits for the next whole message. The error says how the connection ended.
    std::expected<std::string, std::string> next_text();

 private:
    using Opcode = codec::websocket::Opcode;
    struct EasyDeleter {
        void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
    };

    explicit ClientSocket(CURL* easy) : easy_(easy) {}
    std::expected<void, std::string> send_frame(Opcode opcode, std::string_view payload);
    std::expected<void, std::string> send_all(std::string_view bytes);
    std::expected<void, std::string> wait(short events);
    // Until the inbox holds `size` bytes, or the handshake takes too long.
    std::expected<void, std::string> fill(std::size_t size);
    std::string take(std::size_t size);

    std::unique_ptr<CURL, EasyDeleter> easy_;
    codec::websocket::Reader reader_{codec::websocket::Compression::none, codec::websocket::Role::client};
    std::string inbox_;
    std::optional<std::chrono::steady_clock::time_point> handshake_end_;   // While it lasts.
};

}  // namespace starling::server

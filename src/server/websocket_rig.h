#pragma once
// For tests: the server's side of a WebSocket, for a ScriptedServer.

#include <string>
#include <vector>

#include "codec/handshake.h"
#include "codec/websocket.h"
#include "server/client_rig.h"
#include "server/listener_rig.h"

namespace starling::server {

// Answers the handshake and says `more` in the same piece; gives the head of the request.
inline std::string accept_websocket(int peer, const std::string& more = {}) {
    constexpr std::string_view kName = "Sec-WebSocket-Key: ";
    std::string head = receive(peer, "\r\n\r\n");
    const std::size_t at = head.find(kName) + kName.size();
    const std::string key = head.substr(at, head.find("\r\n", at) - at);
    // Names of headers have any case, and values may stand off.
    say(peer, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept:   " +
                  codec::websocket::accept_key(key) + " \r\n\r\n" + more);
    return head;
}

// What a client sends, frame by frame: "text payload", "pong payload", "close"; "nothing" at the end of the stream.
class ClientFrames {
 public:
    explicit ClientFrames(int peer) : peer_(peer) {}
    std::string next() {
        using Kind = codec::websocket::Event::Kind;
        for (;;) {
            const auto event = reader_.next(inbox_, {.message_bytes = 1 << 20});
            const std::string payload(event.payload);
            inbox_.erase(inbox_.begin(), inbox_.begin() + static_cast<std::ptrdiff_t>(event.consumed));
            if (event.kind != Kind::none) {
                const char* kind = event.kind == Kind::text ? "text " : event.kind == Kind::pong ? "pong " : event.kind == Kind::close ? "close" : "other ";
                return kind + payload;
            }
            char part[65536];
            const ssize_t size = ::recv(peer_, part, sizeof part, 0);
            if (size <= 0) { return "nothing"; }
            inbox_.assign(part, part + size);
        }
    }

 private:
    int peer_;
    codec::websocket::Reader reader_;
    std::vector<char> inbox_;
};

}  // namespace starling::server

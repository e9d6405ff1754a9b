#include "server/cli_socket.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <poll.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "codec/handshake.h"

namespace starling::server {
namespace {

constexpr std::size_t kHeaderBytesMax = 16'384;
constexpr codec::websocket::ReaderLimits kLimits{.message_bytes = 64 * 1'048'576, .fragments = 1024};

std::string base64(std::string_view bytes) {
    std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
    out.resize(static_cast<std::size_t>(size));
    return out;
}

// The value of a header in a response's head, empty where there is none.
std::string header_of(std::string_view head, std::string_view name) {
    const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b)); };
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at + 2)) {
        const std::string_view line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
        if (line.size() <= name.size() || line[name.size()] != ':') { continue; }
        if (!std::equal(name.begin(), name.end(), line.begin(), same)) { continue; }
        const std::size_t first = line.find_first_not_of(" \t", name.size() + 1);
        return first == std::string_view::npos ? std::string() : std::string(line.substr(first, line.find_last_not_of(" \t") + 1 - first));
    }
    return {};
}

}  // namespace

std::expected<ClientSocket, std::string> ClientSocket::open(const std::string& base, const std::string& path, Duration patience) {
    ClientSocket socket(curl_easy_init());
    CURL* easy = socket.easy_.get();
    if (easy == nullptr) { return std::unexpected("no HTTP client"); }
    curl_easy_setopt(easy, CURLOPT_URL, base.c_str());
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    // A proxy must not be offered HTTP/2: what follows is HTTP/1.1.
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    if (const CURLcode code = curl_easy_perform(easy); code != CURLE_OK) { return std::unexpected(base + ": " + curl_easy_strerror(code)); }
    unsigned char nonce[16];
    if (RAND_bytes(nonce, sizeof nonce) != 1) { return std::unexpected("no randomness"); }
    const std::string key = base64({reinterpret_cast<const char*>(nonce), sizeof nonce});
    const std::string rest = base.substr(base.find("://") + 3);
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string host = rest.substr(0, slash);
    const std::string request = "GET " + rest.substr(slash) + path + " HTTP/1.1\r\nHost: " + host +
                                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
                                "\r\nSec-WebSocket-Protocol: starling.v1.json\r\n\r\n";
    socket.handshake_end_ = std::chrono::steady_clock::now() + patience;
    if (auto sent = socket.send_all(request); !sent) { return std::unexpected(base + ": " + sent.error()); }
    std::size_t end = std::string::npos;
    while ((end = socket.inbox_.find("\r\n\r\n")) == std::string::npos) {
        if (socket.inbox_.size() > kHeaderBytesMax) { return std::unexpected(base + ": not a gateway"); }
        if (auto filled = socket.fill(socket.inbox_.size() + 1); !filled) { return std::unexpected(base + ": " + filled.error()); }
    }
    const std::string head = socket.take(end + 4);
    if (!head.starts_with("HTTP/1.1 101")) { return std::unexpected(base + ": " + head.substr(0, head.find("\r\n"))); }
    if (header_of(head, "Sec-WebSocket-Accept") != codec::websocket::accept_key(key)) {
        return std::unexpected(base + ": not an answer to a WebSocket's handshake");
    }
    socket.handshake_end_.reset();
    return socket;
}

std::expected<std::string, std::string> ClientSocket::next_text() {
    using Kind = codec::websocket::Event::Kind;
    for (;;) {
        const auto event = reader_.next({inbox_.data(), inbox_.size()}, kLimits);
        const std::string payload(event.payload);
        take(event.consumed);
        switch (event.kind) {
            case Kind::none:
                if (auto filled = fill(1); !filled) { return std::unexpected(filled.error()); }
                break;
            case Kind::text: return payload;
            case Kind::ping:
                if (auto sent = send_frame(Opcode::pong, payload); !sent) { return std::unexpected(sent.error()); }
                break;
            case Kind::close:
                // The answer is a courtesy: the connection is over either way.
                (void)send_frame(Opcode::close, {});
                return std::unexpected("closed by the gateway with " + std::to_string(event.code) + (payload.empty() ? "" : " " + payload));
            case Kind::error: return std::unexpected("the gateway broke the protocol: " + payload);
            case Kind::binary:
            case Kind::pong: break;
        }
    }
}

std::expected<void, std::string> ClientSocket::send_frame(Opcode opcode, std::string_view payload) {
    std::uint32_t mask = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&mask), sizeof mask) != 1) { return std::unexpected("no randomness"); }
    return send_all(codec::websocket::encode_masked({.opcode = opcode, .payload = payload, .mask = mask}));
}

std::expected<void, std::string> ClientSocket::send_all(std::string_view bytes) {
    while (!bytes.empty()) {
        std::size_t sent = 0;
        const CURLcode code = curl_easy_send(easy_.get(), bytes.data(), bytes.size(), &sent);
        if (code == CURLE_AGAIN) {
            if (auto ready = wait(POLLOUT); !ready) { return ready; }
            continue;
        }
        if (code != CURLE_OK) { return std::unexpected(curl_easy_strerror(code)); }
        bytes.remove_prefix(sent);
    }
    return {};
}

std::expected<void, std::string> ClientSocket::fill(std::size_t size) {
    while (inbox_.size() < size) {
        char buffer[16'384];
        std::size_t received = 0;
        const CURLcode code = curl_easy_recv(easy_.get(), buffer, sizeof buffer, &received);
        if (code == CURLE_AGAIN) {
            if (auto ready = wait(POLLIN); !ready) { return ready; }
            continue;
        }
        if (code != CURLE_OK) { return std::unexpected(curl_easy_strerror(code)); }
        if (received == 0) { return std::unexpected("the connection broke"); }
        inbox_.append(buffer, received);
    }
    return {};
}

std::expected<void, std::string> ClientSocket::wait(short events) {
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(easy_.get(), CURLINFO_ACTIVESOCKET, &fd);
    pollfd entry{fd, events, 0};
    // Once it is open, silence means nothing: the gateway pings at most an hour apart.
    int patience = -1;
    if (handshake_end_) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*handshake_end_ - std::chrono::steady_clock::now()).count();
        patience = static_cast<int>(std::max<std::int64_t>(left, 0));
    }
    const int ready = fd == CURL_SOCKET_BAD ? -1 : poll(&entry, 1, patience);
    if (ready == 0) { return std::unexpected("no answer to the handshake"); }
    if (ready < 0 && errno != EINTR) { return std::unexpected("the connection broke"); }
    return {};
}

std::string ClientSocket::take(std::size_t size) {
    std::string out = inbox_.substr(0, size);
    inbox_.erase(0, size);
    return out;
}

}  // namespace starling::server

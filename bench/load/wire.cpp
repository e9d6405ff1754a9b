#include "load/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include <fmt/format.h>

#include "codec/jwt.h"
#include "codec/websocket.h"

namespace starling::bench {

namespace ws = codec::websocket;

std::uint64_t monotonic_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

int open_socket(std::uint16_t port, std::uint32_t index) {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) { return -1; }
    const int on = 1;
    ::setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + index % 250);
    ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || errno == EINPROGRESS) {
        return descriptor;
    }
    ::close(descriptor);
    return -1;
}

std::string upgrade_request(std::string_view path) {
    return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
                       path, kUpgradeKey);
}

std::string masked_frame(std::string_view text) {
    return ws::encode_masked({.opcode = ws::Opcode::text, .payload = text, .mask = 0x5a17c3e9});
}

std::string masked_close() {
    return ws::encode_masked({.opcode = ws::Opcode::close, .payload = std::string_view("\x03\xe8", 2), .mask = 0x5a17c3e9});
}

std::optional<ServerFrame> next_frame(std::string_view bytes) {
    if (bytes.size() < 2) { return std::nullopt; }
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
    std::uint64_t size = byte(1) & 0x7F;
    std::size_t header = 2;
    if (size >= 126) {
        const std::size_t wide = size == 126 ? 2 : 8;
        header += wide;
        if (bytes.size() < header) { return std::nullopt; }
        size = 0;
        for (std::size_t i = 0; i < wide; ++i) { size = size << 8 | byte(2 + i); }
    }
    if (bytes.size() - header < size) { return std::nullopt; }
    return ServerFrame{static_cast<std::uint8_t>(byte(0) & 0x0F), bytes.substr(header, size), header + size};
}

std::string stamp_json(const Stamp& stamp, std::string_view padding) {
    return fmt::format(R"({{"b":"{:08}{:012}{:020}","x":"{}"}})", stamp.room, stamp.sequence, stamp.sent_ns, padding);
}

std::optional<Stamp> find_stamp(std::string_view text) {
    const std::size_t at = text.find("\"b\":\"");
    if (at == std::string_view::npos || text.size() < at + 45) { return std::nullopt; }
    const char* begin = text.data() + at + 5;
    Stamp stamp;
    std::from_chars(begin, begin + 8, stamp.room);
    std::from_chars(begin + 8, begin + 20, stamp.sequence);
    std::from_chars(begin + 20, begin + 40, stamp.sent_ns);
    return stamp;
}

std::string connect_frame(std::uint32_t user) {
    const std::string claims = fmt::format(R"({{"sub":"user-{}"}})", user);
    return fmt::format(R"({{"type":"connect","token":"{}"}})",
                       codec::jwt::sign_hmac(claims, codec::jwt::Algorithm::HS256, kTokenSecret));
}

std::string subscribe_frame(std::uint32_t room, bool presence) {
    if (!presence) { return fmt::format(R"({{"type":"subscribe","id":1,"channel":"room-{}","watch":"none"}})", room); }
    return fmt::format(R"({{"type":"subscribe","id":1,"channel":"room-{}","presence":true}})", room);
}

std::string publish_frame(std::uint32_t room, std::string_view data) {
    return fmt::format(R"({{"type":"publish","channel":"room-{}","data":{}}})", room, data);
}

}  // namespace starling::bench

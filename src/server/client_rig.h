#pragma once
// For tests: the least client that speaks HTTP and short WebSocket frames to a gateway on loopback, by blocking sockets.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace starling::server {

inline int dial(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

// What comes until `mark` is in it or the stream ends.
inline std::string receive(int fd, std::string_view mark = "\xff\xff\xff") {
    std::string text;
    char part[4096];
    while (text.find(mark) == std::string::npos) {
        const ssize_t size = ::recv(fd, part, sizeof part, 0);
        if (size <= 0) { break; }
        text.append(part, static_cast<std::size_t>(size));
    }
    return text;
}

inline void say(int fd, std::string_view text) {
    EXPECT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

// One request on a connection of its own; `rest`: further header lines and the body.
inline std::string request(std::uint16_t port, const std::string& line, const std::string& host = "localhost",
                           const std::string& rest = "\r\n") {
    const int fd = dial(port);
    say(fd, line + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n" + rest);
    std::string answer = receive(fd);
    ::close(fd);
    return answer;
}

inline int upgrade(std::uint16_t port) {
    const int fd = dial(port);
    say(fd, "GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    EXPECT_THAT(receive(fd, "\r\n\r\n"), testing::StartsWith("HTTP/1.1 101 "));
    return fd;
}

// Short, masked with zeros.
inline std::string frame(char opcode, const std::string& payload) {
    EXPECT_LT(payload.size(), 126U);
    return std::string{static_cast<char>(0x80 | opcode), static_cast<char>(0x80 | payload.size()), 0, 0, 0, 0} + payload;
}

}  // namespace starling::server

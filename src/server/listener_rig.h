#pragma once
// For tests: servers on loopback that do what the test says. Each connection is served by a thread of its own, with blocking
// sockets; when the server ends its sockets are shut down, so that no script waits for ever.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace starling::server {

// To a free port, which it gives.
inline std::uint16_t bind_to_loopback(int socket) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
    return ntohs(address.sin_port);
}

class ScriptedServer {
 public:
    // One connection from its beginning to its end; it is closed afterwards.
    using Script = std::function<void(int peer)>;

    explicit ScriptedServer(Script script) : script_(std::move(script)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        port_ = bind_to_loopback(listener_);
        EXPECT_EQ(::listen(listener_, 16), 0);
        thread_ = std::thread([this] { accept_all(); });
    }
    ScriptedServer(const ScriptedServer&) = delete;
    ~ScriptedServer() { end(); }
    std::uint16_t port() const { return port_; }
    std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    // Nobody listens there any more.
    void end() {
        if (!thread_.joinable()) { return; }
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        {
            const std::lock_guard lock(mutex_);
            for (const int peer : open_) { ::shutdown(peer, SHUT_RDWR); }
        }
        for (std::thread& each : peers_) { each.join(); }
        ::close(listener_);
    }

 private:
    void accept_all() {
        for (int peer = ::accept(listener_, nullptr, nullptr); peer >= 0; peer = ::accept(listener_, nullptr, nullptr)) {
            const std::lock_guard lock(mutex_);
            open_.push_back(peer);
            peers_.emplace_back([this, peer] {
                script_(peer);
                // Closed under the lock, so that `end` shuts down no other's descriptor of the same number.
                const std::lock_guard closing(mutex_);
                std::erase(open_, peer);
                ::close(peer);
            });
        }
    }

    Script script_;
    int listener_;
    std::uint16_t port_ = 0;
    std::mutex mutex_;
    std::vector<int> open_;
    std::vector<std::thread> peers_;
    std::thread thread_;
};

// A port of loopback where nobody listens; it is ours as long as this lives. Only a gateway, whose listeners share a port, can be
// told to take it.
class ReservedPort {
 public:
    ReservedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const int on = 1;
        ::setsockopt(socket_, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        port_ = bind_to_loopback(socket_);
    }
    ReservedPort(const ReservedPort&) = delete;
    ~ReservedPort() { ::close(socket_); }
    std::uint16_t port() const { return port_; }
    std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    int socket() const { return socket_; }

 private:
    int socket_;
    std::uint16_t port_ = 0;
};

}  // namespace starling::server

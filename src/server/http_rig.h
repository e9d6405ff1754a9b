#pragma once
// An HTTP server on loopback for tests of what the gateway asks others.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace starling::server {

inline std::string ok(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

// Answers each connection with what it is told; silent where that is empty.
class Issuer {
 public:
    explicit Issuer(std::string answer) : answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
        EXPECT_EQ(listen(listener_, 16), 0);
        EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
        url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/keys";
        thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
    }
    ~Issuer() {
        thread_.request_stop();
        thread_.join();
        for (const int fd : silent_) { close(fd); }
        close(listener_);
    }
    void answer(std::string text) {
        const std::lock_guard lock(mutex_);
        answer_ = std::move(text);
    }
    const std::string& url() const { return url_; }
    int asked() const { return asked_; }
    std::string request() {                  // The last one, as far as it came in one piece.
        const std::lock_guard lock(mutex_);
        return request_;
    }

 private:
    void run(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            pollfd waiting{.fd = listener_, .events = POLLIN, .revents = 0};
            if (poll(&waiting, 1, 10) != 1) { continue; }
            const int peer = accept(listener_, nullptr, nullptr);
            char request[4096];
            const ssize_t size = recv(peer, request, sizeof request, 0);
            if (size <= 0) { continue; }
            ++asked_;
            const std::lock_guard lock(mutex_);
            request_.assign(request, static_cast<std::size_t>(size));
            if (answer_.empty()) {
                silent_.push_back(peer);
                continue;
            }
            send(peer, answer_.data(), answer_.size(), MSG_NOSIGNAL);
            close(peer);
        }
    }

    std::mutex mutex_;
    std::string answer_, url_, request_;
    int listener_;
    std::vector<int> silent_;
    std::atomic<int> asked_ = 0;
    std::jthread thread_;
};

}  // namespace starling::server

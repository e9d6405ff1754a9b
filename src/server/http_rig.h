#pragma once
// An HTTP server on loopback for tests of what the gateway asks others.

#include <atomic>
#include <mutex>
#include <string>

#include "server/listener_rig.h"

namespace starling::server {

inline std::string ok(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

// Answers each connection with what it is told; silent where that is empty.
class Issuer {
 public:
    explicit Issuer(std::string answer) : answer_(std::move(answer)), server_([this](int peer) { serve(peer); }) {}
    void answer(std::string text) {
        const std::lock_guard lock(mutex_);
        answer_ = std::move(text);
    }
    std::string url() const { return "http://" + address() + "/keys"; }
    std::string address() const { return server_.address(); }
    int asked() const { return asked_; }
    std::string request() {                  // The last one, as far as it came in one piece.
        const std::lock_guard lock(mutex_);
        return request_;
    }

 private:
    void serve(int peer) {
        char request[4096];
        const ssize_t size = ::recv(peer, request, sizeof request, 0);
        if (size <= 0) { return; }
        std::string answer;
        {
            const std::lock_guard lock(mutex_);
            request_.assign(request, static_cast<std::size_t>(size));
            answer = answer_;
        }
        ++asked_;
        if (answer.empty()) {
            while (::recv(peer, request, sizeof request, 0) > 0) {}
            return;
        }
        (void)::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
    }

    std::mutex mutex_;
    std::string answer_, request_;
    std::atomic<int> asked_ = 0;
    ScriptedServer server_;                  // Last: its threads use all of the above.
};

}  // namespace starling::server

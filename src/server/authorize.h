#pragma once
// Asks the application's `authorize_url` on a thread of its own: POST, 3 s, no redirects. Anything but
// 200 {"allow":true} refuses.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "domain/session_ref.h"

namespace starling::server {

struct AuthorizeAnswer {
    domain::SessionId session;
    std::uint64_t ticket = 0;
    bool allow = false;
    std::optional<std::string> data;         // Raw JSON.
};

class AuthorizeClient {
 public:
    AuthorizeClient();
    ~AuthorizeClient();
    // `done` is called on another thread, once. More than 1,000 waiting questions are refused at once.
    void ask(std::string url, std::string body, AuthorizeAnswer question, std::function<void(AuthorizeAnswer)> done);

 private:
    struct Question {
        std::string url, body;
        AuthorizeAnswer answer;
        std::function<void(AuthorizeAnswer)> done;
    };
    void work();

    std::mutex mutex_;
    std::condition_variable arrived_;
    std::deque<Question> questions_;
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace starling::server

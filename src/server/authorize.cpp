#include "server/authorize.h"

#include <curl/curl.h>

#include "codec/json.h"

namespace starling::server {

namespace {

constexpr std::size_t kWaitingMax = 1000;
constexpr std::size_t kAnswerBytes = 65536;
constexpr int kThreads = 4;

std::size_t collect(char* data, std::size_t size, std::size_t count, void* target) {
    auto& out = *static_cast<std::string*>(target);
    if (out.size() + size * count > kAnswerBytes) { return 0; }   // Ends the transfer: refused.
    out.append(data, size * count);
    return size * count;
}

void judge(const std::string& body, AuthorizeAnswer& answer) {
    if (!codec::json::valid_utf8(body)) { return; }
    const auto value = codec::json::parse(body, 128);
    if (!value || value->kind != codec::json::Kind::object) { return; }
    const auto fields = codec::json::fields(*value);
    if (!fields) { return; }
    for (const auto& field : *fields) {
        if (field.key == "allow") { answer.allow = field.value.raw == "true"; }
        if (field.key == "data" && field.value.kind != codec::json::Kind::null) { answer.data = std::string(field.value.raw); }
    }
}

}  // namespace

AuthorizeClient::AuthorizeClient() = default;

AuthorizeClient::~AuthorizeClient() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    arrived_.notify_all();
    for (auto& thread : threads_) { thread.join(); }
}

void AuthorizeClient::ask(std::string url, std::string body, AuthorizeAnswer question,
                          std::function<void(AuthorizeAnswer)> done) {
    {
        const std::lock_guard lock(mutex_);
        if (threads_.empty()) {              // A gateway without such a namespace has no such threads.
            curl_global_init(CURL_GLOBAL_DEFAULT);
            for (int i = 0; i < kThreads; ++i) { threads_.emplace_back([this] { work(); }); }
        }
        if (questions_.size() < kWaitingMax) {
            questions_.push_back({std::move(url), std::move(body), std::move(question), std::move(done)});
            arrived_.notify_one();
            return;
        }
    }
    done(std::move(question));
}

void AuthorizeClient::work() {
    CURL* curl = curl_easy_init();
    curl_slist* headers = curl_slist_append(nullptr, "Content-Type: application/json");
    while (true) {
        Question question;
        {
            std::unique_lock lock(mutex_);
            arrived_.wait(lock, [this] { return ending_ || !questions_.empty(); });
            if (ending_) { break; }
            question = std::move(questions_.front());
            questions_.pop_front();
        }
        std::string body;
        curl_easy_reset(curl);               // Keeps its connections alive.
        curl_easy_setopt(curl, CURLOPT_URL, question.url.c_str());
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, question.body.c_str());
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 3000L);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
        long status = 0;
        if (curl_easy_perform(curl) == CURLE_OK) { curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status); }
        if (status == 200) { judge(body, question.answer); }
        question.done(std::move(question.answer));
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

}  // namespace starling::server

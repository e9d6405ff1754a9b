#pragma once
// Token keys that live at an address: JWKS documents fetched on a thread of their own and kept fresh.
// Addresses come from the configuration alone, never from a token (security.md T7). Whatever goes
// wrong, the last good set stays: an identity provider that is away locks nobody out.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "codec/jwt.h"
#include "server/config.h"

namespace starling::server {

struct JwksSource {
    std::size_t app = 0;               // Index into Config::apps.
    std::string url;
    codec::jwt::Algorithm algorithm = codec::jwt::Algorithm::RS256;
    std::string audience, issuer;
    bool require_exp = false;
};

// The sources that have to be fetched; paths and plain keys are make_settings()'s.
std::vector<JwksSource> jwks_sources(const Config& config);

class KeyStore {
 public:
    // The fetched keys of one app after another (index: JwksSource::app), to be added to the app's
    // configured ones. Called on the store's thread, each time that any of them changed.
    using Publish = std::function<void(const std::vector<std::vector<codec::jwt::Key>>& keys_by_app)>;

    struct Times {
        std::chrono::milliseconds refresh = std::chrono::minutes(10);
        std::chrono::milliseconds gap = std::chrono::seconds(30);     // Between two fetches of one source, at least.
        std::chrono::milliseconds timeout = std::chrono::seconds(3);  // For one fetch as a whole.
    };

    // Begins to fetch at once. Without sources no thread is started.
    KeyStore(std::vector<JwksSource> sources, Publish publish) : KeyStore(std::move(sources), std::move(publish), Times{}) {}
    KeyStore(std::vector<JwksSource> sources, Publish publish, Times times);
    ~KeyStore();                       // Breaks off a fetch under way.
    KeyStore(const KeyStore&) = delete;
    KeyStore& operator=(const KeyStore&) = delete;

    // A token was refused, perhaps because its key is newer than the last fetch: call it on each close
    // with 4001. Any thread; however often it is called, each source is fetched once a gap (T13).
    void on_unknown_key();
    // Sources that were never fetched with success: the tokens of these issuers are refused meanwhile.
    std::size_t missing() const { return missing_.load(std::memory_order_relaxed); }   // A figure, orders nothing.

 private:
    using Clock = std::chrono::steady_clock;
    struct Entry {
        JwksSource source;
        std::string document;          // The last good one; empty: never.
        std::vector<codec::jwt::Key> keys;
        Clock::time_point last{};      // When the last fetch began.
        Clock::time_point next{};
    };

    void run(const std::stop_token& stop);
    bool fetch(Entry& entry, const std::stop_token& stop);
    void publish() const;

    Times times_;
    Publish publish_;
    std::vector<Entry> entries_;       // The thread's own once it runs.
    std::atomic<std::size_t> missing_ = 0;
    std::mutex mutex_;                 // Guards wanted_ alone; held for an assignment.
    std::condition_variable_any wake_;
    bool wanted_ = false;
    std::jthread thread_;              // Last: it uses all of the above.
};

}  // namespace starling::server

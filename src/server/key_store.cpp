#include "server/key_store.h"

#include <algorithm>
#include <expected>
#include <memory>

#include <curl/curl.h>

#include "base/log.h"

namespace starling::server {
namespace {

constexpr std::size_t kDocumentBytesMax = 256 * 1024;   // Real sets have some 10 KB.

struct Transfer {
    std::string body;
    const std::stop_token* stop = nullptr;
};

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) {
    auto& body = static_cast<Transfer*>(user)->body;
    if (body.size() + size > kDocumentBytesMax) { return 0; }   // Another number than `size` ends the transfer.
    body.append(data, size);
    return size;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(user)->stop->stop_requested() ? 1 : 0;
}

std::expected<std::string, std::string> download(const std::string& url, std::chrono::milliseconds timeout,
                                                 const std::stop_token& stop) {
    const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
    if (!curl) { return std::unexpected("out of memory"); }
    Transfer transfer{.body = {}, .stop = &stop};
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "https,http");
    // A redirect could lead to where only this machine may look.
    curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);         // Signals are the process's own affair.
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &transfer);
    curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "starling/" STARLING_VERSION);
    const CURLcode result = curl_easy_perform(curl.get());
    if (result == CURLE_WRITE_ERROR) { return std::unexpected("the answer is longer than 256 KiB"); }
    if (result != CURLE_OK) { return std::unexpected(curl_easy_strerror(result)); }
    long status = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) { return std::unexpected("the answer has the status " + std::to_string(status)); }
    return std::move(transfer.body);
}

bool is_url(const std::string& jwks) { return jwks.starts_with("https://") || jwks.starts_with("http://"); }

}  // namespace

std::vector<JwksSource> jwks_sources(const Config& config) {
    std::vector<JwksSource> sources;
    for (std::size_t app = 0; app < config.apps.size(); ++app) {
        for (const TokenKeyConfig& key : config.apps[app].token_keys) {
            const auto algorithm = codec::jwt::parse_algorithm(key.algorithm);
            if (!algorithm || !is_url(key.jwks)) { continue; }   // The former was told by make_settings().
            sources.push_back({.app = app,
                               .url = key.jwks,
                               .algorithm = *algorithm,
                               .audience = key.audience,
                               .issuer = key.issuer,
                               .require_exp = key.require_exp});
        }
    }
    return sources;
}

KeyStore::KeyStore(std::vector<JwksSource> sources, Publish publish, Times times)
    : times_(times), publish_(std::move(publish)), missing_(sources.size()) {
    for (JwksSource& source : sources) { entries_.emplace_back().source = std::move(source); }
    if (!entries_.empty()) {
        thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
    }
}

KeyStore::~KeyStore() = default;       // The thread is asked to stop, and joined, before the rest goes.

void KeyStore::on_unknown_key() {
    {
        const std::lock_guard lock(mutex_);
        if (wanted_) { return; }
        wanted_ = true;
    }
    wake_.notify_one();
}

void KeyStore::run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        bool changed = false;
        for (Entry& entry : entries_) {
            if (Clock::now() < entry.next || stop.stop_requested()) { continue; }
            entry.last = Clock::now();
            changed |= fetch(entry, stop);
            entry.next = entry.last + (entry.document.empty() ? std::min(times_.gap, times_.refresh) : times_.refresh);
        }
        if (changed) { publish(); }

        const auto next = std::ranges::min_element(entries_, {}, &Entry::next)->next;
        std::unique_lock lock(mutex_);
        if (!wake_.wait_until(lock, stop, next, [this] { return wanted_; })) { continue; }
        wanted_ = false;
        // Earlier than planned, and still never more than one fetch a gap.
        for (Entry& entry : entries_) { entry.next = std::min(entry.next, entry.last + times_.gap); }
    }
}

// True where the keys are others than before.
bool KeyStore::fetch(Entry& entry, const std::stop_token& stop) {
    auto document = download(entry.source.url, times_.timeout, stop);
    if (stop.stop_requested()) { return false; }
    if (document && *document == entry.document) { return false; }
    auto keys = document ? codec::jwt::parse_jwks(*document, entry.source.algorithm)
                         : std::expected<std::vector<codec::jwt::Key>, std::string>(std::unexpected(document.error()));
    if (!keys) {
        log::warning("jwks_failed", {{"url", entry.source.url}, {"reason", keys.error()}, {"kept", entry.keys.size()}});
        return false;
    }
    for (codec::jwt::Key& key : *keys) {
        key.audience = entry.source.audience;
        key.issuer = entry.source.issuer;
        key.require_exp = entry.source.require_exp;
    }
    if (entry.document.empty()) { missing_.fetch_sub(1, std::memory_order_relaxed); }
    entry.document = std::move(*document);
    entry.keys = std::move(*keys);
    log::info("jwks_fetched", {{"url", entry.source.url}, {"keys", entry.keys.size()}});
    return true;
}

void KeyStore::publish() const {
    std::vector<std::vector<codec::jwt::Key>> keys_by_app;
    for (const Entry& entry : entries_) {
        keys_by_app.resize(std::max(keys_by_app.size(), entry.source.app + 1));
        auto& keys = keys_by_app[entry.source.app];
        keys.insert(keys.end(), entry.keys.begin(), entry.keys.end());
    }
    publish_(keys_by_app);
}

}  // namespace starling::server

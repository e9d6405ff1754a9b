#include "server/gateway.h"

#include <malloc.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/random.h"
#include "server/config_settings.h"
#include "server/engine_factory.h"
#include "server/shard_loop.h"

namespace starling::server {

namespace {

std::uint64_t draw() {
    std::uint64_t value = 0;
    RAND_bytes(reinterpret_cast<unsigned char*>(&value), sizeof value);
    return value;
}

sigset_t own_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) { sigaddset(&signals, signal); }
    return signals;
}

int fail(const std::string& message) {
    std::fprintf(stderr, "starling: %s\n", message.c_str());
    return 1;
}

std::expected<std::shared_ptr<const Runtime>, std::string> make_runtime(const Config& config,
                                                                        const std::string& resume_secret) {
    auto runtime = std::make_shared<Runtime>();
    runtime->config = config;
    auto settings = make_settings(config, resume_secret);
    if (!settings) {
        std::string all;
        for (const auto& line : settings.error()) { all += (all.empty() ? "" : "\n") + line; }
        return std::unexpected(all);
    }
    runtime->settings = std::make_shared<const domain::Settings>(std::move(*settings));
    for (std::size_t app = 0; app < config.apps.size(); ++app) {
        for (const std::string& key : config.apps[app].api_keys) {
            unsigned char digest[SHA256_DIGEST_LENGTH];
            SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest);
            runtime->api_keys.push_back({std::string(reinterpret_cast<char*>(digest), sizeof digest), app});
        }
    }
    if (!config.server.certificate.empty()) {
        auto tls = net::TlsContext::load(config.server.certificate, config.server.certificate_key);
        if (!tls) { return std::unexpected(tls.error()); }
        runtime->tls = std::move(*tls);
    }
    auto redis_tls = make_redis_tls(config);
    if (!redis_tls) { return std::unexpected(redis_tls.error()); }
    runtime->redis_tls = std::move(*redis_tls);
    return runtime;
}

// Signs `resume`. Every node of a cluster must accept it, so there it comes from the secrets that they share.
std::string make_resume_secret(const Config& config) {
    std::string secret(32, '\0');
    RAND_bytes(reinterpret_cast<unsigned char*>(secret.data()), static_cast<int>(secret.size()));
    if (config.engine.type != "redis") { return secret; }
    std::string shared;
    for (const auto& app : config.apps) {
        shared += app.secret + '\0';
        for (const auto& key : app.api_keys) { shared += key + '\0'; }
        for (const auto& key : app.token_keys) { shared += key.secret + '\0'; }
    }
    if (shared.find_first_not_of('\0') == std::string::npos) {
        log::warning("auth.resume_secret is not set and no app has a secret: resume holds on this node alone");
        return secret;
    }
    shared = "starling resume" + shared;
    SHA256(reinterpret_cast<const unsigned char*>(shared.data()), shared.size(), reinterpret_cast<unsigned char*>(secret.data()));
    return secret;
}

std::string shown(const Endpoint& endpoint) {
    const std::string host = endpoint.host.empty() ? "0.0.0.0" : endpoint.host;
    return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(endpoint.port);
}

class Node {
 public:
    Node(const ConfigSources& sources, std::shared_ptr<const Runtime> runtime, std::string resume_secret, std::size_t shards)
        : sources_(sources), runtime_(std::move(runtime)), resume_secret_(std::move(resume_secret)), shared_(shards) {}

    int run();

 private:
    std::expected<void, std::string> start();
    void reload();
    void watch_keys();                       // For the sources of runtime_; told by SIGUSR1.
    void apply_keys();
    int drain();
    void post_all(auto make) {
        for (auto& mailbox : shared_.mailboxes) { mailbox->send(make()); }
    }
    void stop() {
        post_all([] { return StopPost{}; });
        for (auto& thread : threads_) { thread.join(); }
        threads_.clear();
    }

    const ConfigSources& sources_;
    // What the key store fetched last, for the main thread to pick up: a hand-over at start-up pace.
    std::mutex keys_mutex_;
    std::vector<std::vector<codec::jwt::Key>> fetched_;
    std::uint64_t keys_generation_ = 0;
    std::shared_ptr<const Runtime> runtime_; // As configured, without what was fetched.
    std::string resume_secret_;
    Shared shared_;
    std::vector<std::unique_ptr<ShardLoop>> loops_;
    std::vector<std::thread> threads_;
};

std::expected<void, std::string> Node::start() {
    const Config& config = runtime_->config;
    auto listen = parse_endpoint(config.server.listen);
    auto admin = parse_endpoint(config.server.admin);
    if (!listen) { return std::unexpected("server.listen: " + listen.error()); }
    if (!admin) { return std::unexpected("server.admin: " + admin.error()); }
    // Port 0: any free one, found before the shards are made, for they tell others the node's address.
    std::optional<net::Transport> probe;
    if (listen->port == 0) {
        probe.emplace();
        const auto port = probe->listen(listen->host, 0, kPublic);
        if (!port) { return std::unexpected("server.listen: " + port.error()); }
        listen->port = *port;
    }
    Rng names(draw());
    const auto count = static_cast<std::uint32_t>(shared_.mailboxes.size());
    const std::string node_id = names.word(10);
    hash_seed = draw();
    for (std::uint32_t index = 0; index < count; ++index) {
        domain::ShardIdentity identity{.node_id = node_id, .address = shown(*listen), .version = STARLING_VERSION};
        identity.index = index;
        identity.count = count;
        identity.seed = draw();
        loops_.push_back(std::make_unique<ShardLoop>(std::move(identity), runtime_, shared_));
        net::Transport& transport = loops_.back()->transport();
        const auto port = transport.listen(listen->host, listen->port, kPublic);
        if (!port) { return std::unexpected("server.listen: " + port.error()); }
        if (index == 0) {
            const auto admin_port = transport.listen(admin->host, admin->port, kAdmin);
            if (!admin_port) { return std::unexpected("server.admin: " + admin_port.error()); }
            admin->port = *admin_port;
        }
        transport.set_tls(kPublic, runtime_->tls);
    }
    probe.reset();
    for (auto& loop : loops_) { threads_.emplace_back([raw = loop.get()] { raw->run(); }); }
    shared_.ready.store(true, std::memory_order_relaxed);
    const char* scheme = runtime_->tls ? "https" : "http";
    std::printf("public %s://%s\n", scheme, shown(*listen).c_str());
    std::printf("admin http://%s\n", shown(*admin).c_str());
    if (config.development) { std::printf("demo %s://%s/demo/\n", scheme, shown(*listen).c_str()); }
    std::fflush(stdout);
    log::info("started", {{"node", node_id}, {"shards", count}, {"version", STARLING_VERSION}});
    return {};
}

void Node::watch_keys() {
    std::uint64_t generation = 0;
    {
        const std::lock_guard lock(keys_mutex_);
        fetched_.clear();
        generation = ++keys_generation_;     // What an older store still publishes is not taken.
    }
    auto sources = jwks_sources(runtime_->config);
    if (sources.empty()) { return; }
    auto next = std::make_shared<Runtime>(*runtime_);
    next->keys = std::make_shared<KeyStore>(std::move(sources), [this, generation](const auto& keys) {
        {
            const std::lock_guard lock(keys_mutex_);
            if (generation != keys_generation_) { return; }
            fetched_ = keys;
        }
        ::kill(::getpid(), SIGUSR1);
    });
    runtime_ = std::move(next);
}

void Node::apply_keys() {
    auto settings = std::make_shared<domain::Settings>(*runtime_->settings);
    {
        const std::lock_guard lock(keys_mutex_);
        for (std::size_t app = 0; app < fetched_.size() && app < settings->apps.size(); ++app) {
            auto& keys = settings->apps[app].token_keys;
            keys.insert(keys.end(), fetched_[app].begin(), fetched_[app].end());
        }
    }
    auto next = std::make_shared<Runtime>(*runtime_);
    next->settings = std::move(settings);
    post_all([&next] { return SettingsPost{next}; });
    log::info("token keys fetched");
}

void Node::reload() {
    auto config = load_config(sources_);
    std::expected<std::shared_ptr<const Runtime>, std::string> next = std::unexpected(std::string());
    if (config) {
        // What only a new process can change stays as it is.
        config->server.listen = runtime_->config.server.listen;
        config->server.admin = runtime_->config.server.admin;
        config->server.shards = runtime_->config.server.shards;
        config->engine = runtime_->config.engine;
        config->redis = runtime_->config.redis;
        config->cluster = runtime_->config.cluster;
        keep_places(runtime_->config.apps, config->apps);
        next = make_runtime(*config, resume_secret_);
    } else {
        for (const auto& line : config.error()) { next.error() += (next.error().empty() ? "" : "\n") + line; }
    }
    if (!next) {
        shared_.reloads_refused.fetch_add(1, std::memory_order_relaxed);
        log::error("reload refused", {{"reason", next.error()}});
        return;
    }
    runtime_ = *next;
    watch_keys();
    if (const auto level = log::parse_level(runtime_->config.server.log_level)) { log::set_level(*level); }
    post_all([this] { return SettingsPost{runtime_}; });
    shared_.reloads.fetch_add(1, std::memory_order_relaxed);
    log::info("reloaded");
}

int Node::drain() {
    const auto& server = runtime_->config.server;
    log::info("draining", {{"delay_ms", server.drain_delay_ms}, {"window_ms", server.drain_window_ms}});
    shared_.draining.store(true, std::memory_order_relaxed);
    std::this_thread::sleep_for(std::chrono::milliseconds(server.drain_delay_ms));
    const Duration window = std::chrono::milliseconds(server.drain_window_ms);
    post_all([window] { return DrainPost{window}; });
    // The window, the last second, the close handshake, the linger; then it ends whatever hangs.
    const auto end = std::chrono::steady_clock::now() + window + 10s + runtime_->settings->linger;
    while (shared_.idle_loops.load(std::memory_order_relaxed) < loops_.size() && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(20ms);
    }
    stop();
    log::info("ended");
    return 0;
}

int Node::run() {
    const sigset_t signals = own_signals();
    ::signal(SIGPIPE, SIG_IGN);
    watch_keys();
    if (auto started = start(); !started) {
        stop();
        return fail(started.error());
    }
    while (true) {
        int signal = 0;
        if (sigwait(&signals, &signal) != 0) { continue; }
        if (signal == SIGHUP) {
            reload();
            continue;
        }
        if (signal == SIGUSR1) {
            apply_keys();
            continue;
        }
        if (shared_.failed.load(std::memory_order_relaxed)) {
            stop();
            return 1;
        }
        return drain();
    }
}

}  // namespace

int run_gateway(const ConfigSources& sources, const Config& config) {
    // A fixed threshold: left to itself it rises with the first large body that is freed, and from then
    // on the allocator keeps what such bodies need instead of giving it back.
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    // Before any thread exists, the log's too: every one inherits the mask, so that signals come to the
    // main thread alone, by sigwait. One thread without it would let SIGTERM end the process at once.
    const sigset_t signals = own_signals();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::string resume_secret = make_resume_secret(config);
    auto runtime = make_runtime(config, resume_secret);
    if (!runtime) { return fail(runtime.error()); }
    const unsigned cores = std::clamp(std::thread::hardware_concurrency(), 1U, domain::kShardsMax);
    const std::size_t shards = config.server.shards > 0 ? static_cast<std::size_t>(config.server.shards) : cores;
    log::start(log::parse_level(config.server.log_level).value_or(log::Level::info));
    const int code = Node(sources, std::move(*runtime), std::move(resume_secret), shards).run();
    log::stop();
    return code;
}

}  // namespace starling::server

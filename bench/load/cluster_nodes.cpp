#include "load/cluster_nodes.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "load/cluster_view.h"
#include "load/measure.h"
#include "load/target.h"
#include "load/wire.h"

namespace starling::bench {

namespace {

constexpr std::string_view kApiKey = "bench-key-bench-key";

}  // namespace

ClusterNodes::ClusterNodes(const ClusterOptions& options) : options_(options) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    char name[] = "/tmp/starling-cluster-XXXXXX";
    folder_ = ::mkdtemp(name) == nullptr ? "" : name;
    if (!options.apart) {
        redis_.emplace(false);
        if (!redis_->well()) {
            failure_ = "redis-server does not answer";
            return;
        }
    }
    write_config();
    for (std::uint32_t i = 0; i < options.nodes && failure_.empty(); ++i) { start_node(); }
}

ClusterNodes::~ClusterNodes() {
    for (const Node& node : nodes_) { end_process(node.process); }
    for (const int pipe : pipes_) { ::close(pipe); }
    if (!folder_.empty()) { std::filesystem::remove_all(folder_); }
}

void ClusterNodes::write_config() {
    const std::string engine = !redis_ ? "[engine]\ntype = \"memory\"\n"
        : fmt::format("[engine]\ntype = \"redis\"\n[redis]\nurl = \"redis://127.0.0.1:{}\"\n", redis_->port());
    const std::string history = options_.history == 0 ? "" : fmt::format("history = {{ size = {}, ttl_s = 600 }}\n", options_.history);
    std::ofstream(folder_ + "/node.toml") << fmt::format(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\nlog_level = \"error\"\nping_interval_s = {}\n{}"
        "[presence]\nlinger_ms = {}\n"
        "[[apps]]\nid = \"default\"\napi_keys = [\"{}\"]\n"
        "[[apps.token_keys]]\nalgorithm = \"HS256\"\nsecret = \"{}\"\n"
        "[[apps.namespaces]]\nname = \"\"\nallow = [\"subscribe\", \"publish\", \"presence\", \"typing\", \"history\"]\n{}",
        options_.ping_interval, engine, kLingerMs, kApiKey, kTokenSecret, history);
}

bool ClusterNodes::start_node() {
    std::vector<std::string> words{options_.binary, "serve", "--config", folder_ + "/node.toml"};
    words.insert(words.end(), options_.flags.begin(), options_.flags.end());
    const ServerProcess started = spawn(std::move(words), true);
    Node node{started.id, read_port(started.out)};
    nodes_.push_back(node);
    pipes_.push_back(started.out);           // It stays open: a server that prints again must not die of it.
    if (node.port == 0) {
        failure_ = options_.binary + " did not say its port";
        return false;
    }
    if (becomes_ready(node.port)) { return true; }
    failure_ = options_.binary + " does not become ready";
    return false;
}

void ClusterNodes::kill_node(std::size_t index) {
    end_process(nodes_[index].process);
    nodes_[index].process = -1;
}

double ClusterNodes::cpu() const {
    double seconds = 0;
    for (const Node& node : nodes_) { seconds += node.process > 0 ? cpu_seconds(node.process) : 0; }
    return seconds;
}

std::uint64_t ClusterNodes::pss() const {
    std::uint64_t bytes = 0;
    for (const Node& node : nodes_) { bytes += node.process > 0 ? pss_bytes(node.process) : 0; }
    return bytes;
}

int ClusterNodes::post(std::string_view path, std::string_view body) const {
    const std::string text = ask(nodes_[0].port, fmt::format(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\nConnection: close\r\n\r\n{}", path, kApiKey, body.size(), body), "\r\n\r\n");
    return text.starts_with("HTTP/1.1 ") ? std::atoi(text.c_str() + 9) : 0;
}

}  // namespace starling::bench

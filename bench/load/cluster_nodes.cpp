#include "load/cluster_nodes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "load/cluster_view.h"
#include "load/measure.h"
#include "load/target.h"
#include "load/wire.h"

namespace starling::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::string_view kApiKey = "bench-key-bench-key";

ServerProcess spawn(std::vector<std::string> words, bool hear) {
    int pipes[2] = {-1, -1};
    if (hear && ::pipe2(pipes, O_CLOEXEC) != 0) { return {}; }
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) { ::_exit(1); }
        ::dup2(hear ? pipes[1] : ::open("/dev/null", O_WRONLY), 1);
        std::vector<char*> arguments;
        for (std::string& word : words) { arguments.push_back(word.data()); }
        arguments.push_back(nullptr);
        ::execvp(arguments[0], arguments.data());
        ::_exit(127);
    }
    if (hear) { ::close(pipes[1]); }
    return {child, pipes[0]};
}

void end_process(pid_t process) {
    if (process <= 0) { return; }
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
}

// What a server answers to `request`, until `enough` is in it or 10 s are over; "" where nobody listens.
std::string ask(std::uint16_t port, std::string_view request, std::string_view enough) {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::string out;
    if (::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        while (!request.empty()) {
            const ssize_t sent = ::send(descriptor, request.data(), request.size(), MSG_NOSIGNAL);
            if (sent <= 0) { break; }
            request.remove_prefix(static_cast<std::size_t>(sent));
        }
        char bytes[65536];
        while (out.find(enough) == std::string::npos) {
            const ssize_t count = ::recv(descriptor, bytes, sizeof bytes, 0);
            if (count <= 0) { break; }
            out.append(bytes, static_cast<std::size_t>(count));
        }
    }
    ::close(descriptor);
    return out;
}

}  // namespace

ClusterNodes::ClusterNodes(const ClusterOptions& options) : options_(options) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    char name[] = "/tmp/starling-cluster-XXXXXX";
    folder_ = ::mkdtemp(name) == nullptr ? "" : name;
    if (!options.apart && !start_redis()) { return; }
    write_config();
    for (std::uint32_t i = 0; i < options.nodes && failure_.empty(); ++i) { start_node(); }
}

ClusterNodes::~ClusterNodes() {
    for (const Node& node : nodes_) { end_process(node.process); }
    end_process(redis_.id);
    for (const int pipe : pipes_) { ::close(pipe); }
    if (!folder_.empty()) { std::filesystem::remove_all(folder_); }
}

bool ClusterNodes::start_redis() {
    redis_port_ = free_port();
    redis_ = spawn({"redis-server", "--port", std::to_string(redis_port_), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                    "--dir", folder_, "--client-output-buffer-limit", "pubsub", "256mb", "64mb", "60"}, false);
    for (int i = 0; i < 100; ++i) {
        if (ask(redis_port_, "PING\r\n", "PONG").starts_with("+PONG")) { return true; }
        std::this_thread::sleep_for(50ms);
    }
    failure_ = "redis-server does not answer";
    return false;
}

void ClusterNodes::write_config() {
    const std::string engine = options_.apart ? "[engine]\ntype = \"memory\"\n"
        : fmt::format("[engine]\ntype = \"redis\"\n[redis]\nurl = \"redis://127.0.0.1:{}\"\n", redis_port_);
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
    for (int i = 0; i < 200; ++i) {
        if (ask(node.port, "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "\r\n\r\n").starts_with("HTTP/1.1 200")) { return true; }
        std::this_thread::sleep_for(50ms);
    }
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

double ClusterNodes::redis_cpu() const { return redis_.id > 0 ? cpu_seconds(redis_.id) : 0; }

std::uint64_t ClusterNodes::redis_info(std::string_view name) const {
    if (redis_.id <= 0) { return 0; }
    const std::string text = ask(redis_port_, "INFO\r\n", "# Keyspace");
    const std::size_t at = text.find(fmt::format("\n{}:", name));
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + name.size() + 2, nullptr, 10);
}

int ClusterNodes::post(std::string_view path, std::string_view body) const {
    const std::string text = ask(nodes_[0].port, fmt::format(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\nConnection: close\r\n\r\n{}", path, kApiKey, body.size(), body), "\r\n\r\n");
    return text.starts_with("HTTP/1.1 ") ? std::atoi(text.c_str() + 9) : 0;
}

}  // namespace starling::bench

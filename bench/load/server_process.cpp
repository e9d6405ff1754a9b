#include "load/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "load/measure.h"
#include "load/target.h"

namespace starling::bench {

using namespace std::chrono_literals;

ServerProcess spawn(std::vector<std::string> words, bool hear, bool on_last_core) {
    int pipes[2] = {-1, -1};
    if (hear && ::pipe2(pipes, O_CLOEXEC) != 0) { return {}; }
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) { ::_exit(1); }
        if (on_last_core) { pin_to(-1); }
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

bool becomes_ready(std::uint16_t port) {
    for (int i = 0; i < 200; ++i) {
        if (ask(port, "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "\r\n\r\n").starts_with("HTTP/1.1 200")) { return true; }
        std::this_thread::sleep_for(50ms);
    }
    return false;
}

RedisServer::RedisServer(bool on_last_core)
    : port_(free_port()),
      process_(spawn({"redis-server", "--port", std::to_string(port_), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                      "--dir", "/tmp", "--client-output-buffer-limit", "pubsub", "256mb", "64mb", "60"}, false, on_last_core).id) {
    for (int i = 0; i < 100 && !well_; ++i) {
        well_ = ask(port_, "PING\r\n", "PONG").starts_with("+PONG");
        if (!well_) { std::this_thread::sleep_for(50ms); }
    }
}

RedisServer::~RedisServer() { end_process(process_); }

double RedisServer::cpu() const { return cpu_seconds(process_); }

std::uint64_t RedisServer::info(std::string_view name) const {
    const std::string text = ask(port_, "INFO\r\n", "# Keyspace");
    const std::size_t at = text.find(fmt::format("\n{}:", name));
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + name.size() + 2, nullptr, 10);
}

}  // namespace starling::bench

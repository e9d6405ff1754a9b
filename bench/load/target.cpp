#include "load/target.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "load/wire.h"

namespace starling::bench {

using namespace std::chrono_literals;

namespace {

constexpr int kNotInstalled = 77;            // What `start` of an absent peer ends with.

std::string new_folder() {
    char name[] = "/tmp/starling-bench-XXXXXX";
    return ::mkdtemp(name) == nullptr ? std::string() : std::string(name);
}

int loopback_socket(sockaddr_in& address, std::uint16_t port) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

bool accepts(std::uint16_t port) {
    sockaddr_in address{};
    const int descriptor = loopback_socket(address, port);
    const bool accepted = ::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(descriptor);
    return accepted;
}

// Everything allowed, limits out of the way: what is measured is the way, not the refusal.
std::string write_config(const Options& options, const std::string& folder, std::uint16_t redis) {
    const std::string path = folder + "/bench.toml";
    const std::string engine = redis == 0 ? "" : fmt::format("[engine]\ntype = \"redis\"\n[redis]\nurl = \"redis://127.0.0.1:{}\"\n", redis);
    std::ofstream(path) << fmt::format(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = {}\nlog_level = \"warning\"\n"
        "[limits]\nframes_per_second = 1000000\nframes_burst = 1000000\nqueue_bytes = 67108864\n{}"
        "[[apps]]\nid = \"default\"\napi_keys = [\"bench-key-bench-key\"]\n"
        "[[apps.token_keys]]\nalgorithm = \"HS256\"\nsecret = \"{}\"\n"
        "[[apps.namespaces]]\nname = \"\"\nallow = [\"subscribe\", \"publish\", \"presence\", \"typing\"]\n",
        options.shards, engine, kTokenSecret);
    return path;
}

}  // namespace

std::uint16_t free_port() {
    sockaddr_in address{};
    const int descriptor = loopback_socket(address, 0);
    socklen_t size = sizeof address;
    ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), size);
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
    ::close(descriptor);
    return ntohs(address.sin_port);
}

std::uint16_t read_port(int descriptor) {
    std::string text;
    constexpr std::string_view kMark = "public http://127.0.0.1:";
    while (true) {
        pollfd waiting{descriptor, POLLIN, 0};
        char bytes[4096];
        if (::poll(&waiting, 1, 20000) <= 0) { return 0; }
        const ssize_t count = ::read(descriptor, bytes, sizeof bytes);
        if (count <= 0) { return 0; }
        text.append(bytes, static_cast<std::size_t>(count));
        const std::size_t at = text.find(kMark);
        if (at != std::string::npos && text.find('\n', at) != std::string::npos) {
            return static_cast<std::uint16_t>(std::strtoul(text.c_str() + at + kMark.size(), nullptr, 10));
        }
    }
}

void pin_to(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core >= 0 ? core : static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)) - 1, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

Target::Target(const std::string& name, const Options& options, std::uint16_t redis) {
    std::vector<std::string> words;
    std::uint16_t chosen = 0;
    if (is_raw(name)) {
        words = {"/proc/self/exe", "--serve-raw"};
        if (name == "raw-writev") { words.emplace_back("--writev"); }
    } else if (is_peer(name)) {
        chosen = free_port();
        folder_ = new_folder();
        words = {fmt::format("{}/{}/start", options.peers, peer_name(name)), fmt::to_string(chosen)};
        if (redis != 0) { words.push_back(fmt::to_string(redis)); }
    } else {
        folder_ = new_folder();
        words = {name, "serve", "--config", write_config(options, folder_, redis)};
        words.insert(words.end(), options.flags.begin(), options.flags.end());
    }
    int pipes[2] = {-1, -1};
    if (::pipe(pipes) != 0) { return; }
    process_ = ::fork();
    if (process_ == 0) {
        ::setpgid(0, 0);                     // A peer may be several processes; they end together.
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (options.pin) { pin_to(0); }
        ::setenv("STARLING_PEER_FOLDER", folder_.c_str(), 1);
        ::dup2(pipes[1], 1);
        ::close(pipes[0]);
        ::close(pipes[1]);
        std::vector<char*> arguments;
        for (std::string& word : words) { arguments.push_back(word.data()); }
        arguments.push_back(nullptr);
        ::execv(arguments[0], arguments.data());
        ::_exit(127);
    }
    ::setpgid(process_, process_);
    ::close(pipes[1]);
    if (is_peer(name)) {
        wait_for_peer(name, chosen);
        return;
    }
    port_ = read_port(pipes[0]);
    // The pipe stays open: a server that prints again must not die of it.
    if (port_ == 0) { failure_ = name + " did not say its port"; }
}

void Target::wait_for_peer(const std::string& name, std::uint16_t port) {
    for (int tries = 0; tries < 1000; ++tries) {
        int status = 0;
        if (::waitpid(process_, &status, WNOHANG) == process_) {
            absent_ = WIFEXITED(status) && WEXITSTATUS(status) == kNotInstalled;
            failure_ = name + (absent_ ? " is not installed" : " ended at its start");
            ::kill(-process_, SIGKILL);
            process_ = -1;
            return;
        }
        if (accepts(port)) {
            std::this_thread::sleep_for(200ms);      // What it still does at its start is not measured.
            port_ = port;
            return;
        }
        std::this_thread::sleep_for(20ms);
    }
    failure_ = name + " does not listen";
}

Target::~Target() {
    if (process_ > 0) {
        ::kill(-process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
    }
    if (!folder_.empty()) { std::filesystem::remove_all(folder_); }
}

}  // namespace starling::bench

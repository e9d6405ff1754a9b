#include "load/target.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "load/wire.h"

namespace starling::bench {

namespace {

// Everything allowed, limits out of the way: what is measured is the way, not the refusal.
std::string write_config(const Options& options, std::string& folder) {
    char name[] = "/tmp/starling-bench-XXXXXX";
    if (::mkdtemp(name) == nullptr) { return {}; }
    folder = name;
    const std::string path = folder + "/bench.toml";
    std::ofstream(path) << fmt::format(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = {}\nlog_level = \"warning\"\n"
        "[limits]\nframes_per_second = 1000000\nframes_burst = 1000000\nqueue_bytes = 67108864\n"
        "[[apps]]\nid = \"default\"\napi_keys = [\"bench-key-bench-key\"]\n"
        "[[apps.token_keys]]\nalgorithm = \"HS256\"\nsecret = \"{}\"\n"
        "[[apps.namespaces]]\nname = \"\"\nallow = [\"subscribe\", \"publish\", \"presence\", \"typing\"]\n",
        options.shards, kTokenSecret);
    return path;
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

}  // namespace

void pin_to(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core >= 0 ? core : static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)) - 1, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

Target::Target(const std::string& name, const Options& options) : raw_(is_raw(name)) {
    std::vector<std::string> words;
    if (raw_) {
        words = {"/proc/self/exe", "--serve-raw"};
        if (name == "raw-writev") { words.emplace_back("--writev"); }
    } else {
        words = {name, "serve", "--config", write_config(options, folder_)};
        words.insert(words.end(), options.flags.begin(), options.flags.end());
    }
    int pipes[2] = {-1, -1};
    if (::pipe(pipes) != 0) { return; }
    process_ = ::fork();
    if (process_ == 0) {
        if (options.pin) { pin_to(0); }
        ::dup2(pipes[1], 1);
        ::close(pipes[0]);
        ::close(pipes[1]);
        std::vector<char*> arguments;
        for (std::string& word : words) { arguments.push_back(word.data()); }
        arguments.push_back(nullptr);
        ::execv(arguments[0], arguments.data());
        ::_exit(127);
    }
    ::close(pipes[1]);
    port_ = read_port(pipes[0]);
    // The pipe stays open: a server that prints again must not die of it.
    if (port_ == 0) { failure_ = name + " did not say its port"; }
}

Target::~Target() {
    if (process_ > 0) {
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
    }
    if (!folder_.empty()) { std::filesystem::remove_all(folder_); }
}

}  // namespace starling::bench

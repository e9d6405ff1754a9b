#include "load/measure.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

#include "load/board.h"

namespace starling::bench {

namespace {

std::string read_file(const std::string& path) {
    const std::ifstream file(path);
    std::ostringstream out;
    out << file.rdbuf();
    return std::move(out).str();
}

std::vector<std::string> threads_of(pid_t process) {
    const std::string folder = fmt::format("/proc/{}/task", process);
    std::vector<std::string> out;
    DIR* directory = ::opendir(folder.c_str());
    if (directory == nullptr) { return out; }
    while (const dirent* entry = ::readdir(directory)) {
        if (entry->d_name[0] != '.') { out.push_back(folder + "/" + entry->d_name); }
    }
    ::closedir(directory);
    return out;
}

// A process and its descendants.
std::vector<pid_t> family_of(pid_t process) {
    std::vector<pid_t> out{process};
    for (std::size_t i = 0; i < out.size(); ++i) {
        for (const std::string& thread : threads_of(out[i])) {
            std::istringstream children(read_file(thread + "/children"));
            for (pid_t child = 0; children >> child;) {
                if (read_file(fmt::format("/proc/{}/comm", child)) != "redis-server\n") { out.push_back(child); }
            }
        }
    }
    return out;
}

}  // namespace

double Histogram::quantile(double share) const {
    std::uint64_t total = 0;
    for (const std::uint64_t count : counts) { total += count; }
    if (total == 0) { return 0; }
    auto left = static_cast<std::uint64_t>(share * static_cast<double>(total));
    for (std::size_t i = 0; i < kBuckets; ++i) {
        if (counts[i] > left) { return static_cast<double>((9 + i % 8) << (i / 8)); }
        left -= counts[i];
    }
    return 0;
}

double cpu_seconds(pid_t process) {
    double nanoseconds = 0;
    for (const pid_t each : family_of(process)) {
        for (const std::string& thread : threads_of(each)) {
            std::istringstream fields(read_file(thread + "/schedstat"));
            double spent = 0;
            fields >> spent;
            nanoseconds += spent;
        }
    }
    return nanoseconds / 1e9;
}

namespace {

// Throws std::runtime_error where the kernel does not tell it: that is not the same as none.
std::uint64_t of_smaps(pid_t process, std::string_view field) {
    std::uint64_t bytes = 0;
    const std::string line = fmt::format("\n{}:", field);
    for (const pid_t each : family_of(process)) {
        const std::string text = read_file(fmt::format("/proc/{}/smaps_rollup", each));
        if (text.empty()) { continue; }      // It has ended.
        const std::size_t at = text.find(line);
        if (at == std::string::npos) { throw std::runtime_error(fmt::format("this kernel's smaps_rollup has no {}", field)); }
        bytes += std::stoull(text.substr(at + line.size())) * 1024;
    }
    return bytes;
}

}  // namespace

std::uint64_t pss_bytes(pid_t process) { return of_smaps(process, "Pss"); }
std::uint64_t anonymous_pss_bytes(pid_t process) { return of_smaps(process, "Pss_Anon"); }

std::uint64_t kernel_socket_bytes() {
    static constexpr std::string_view kCaches[] = {"TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi",
                                                   "ep_head", "lsm_inode_cache", "request_sock_TCP", "tcp_bind_bucket",
                                                   "tcp_bind2_bucket", "skbuff_head_cache", "skbuff_small_head"};
    std::istringstream lines(read_file("/proc/slabinfo"));
    std::string line;
    std::uint64_t bytes = 0;
    while (std::getline(lines, line)) {
        std::istringstream fields(line);
        std::string name;
        std::uint64_t active = 0, all = 0, size = 0;
        fields >> name >> active >> all >> size;
        if (std::ranges::find(kCaches, name) != std::end(kCaches)) { bytes += active * size; }
    }
    return bytes;
}

Spread spread_of(std::vector<double> values) {
    if (values.empty()) { return {}; }
    std::ranges::sort(values);
    const auto at = [&](double share) {
        const double place = share * static_cast<double>(values.size() - 1);
        const auto low = static_cast<std::size_t>(place);
        const std::size_t high = std::min(low + 1, values.size() - 1);
        return values[low] + (values[high] - values[low]) * (place - static_cast<double>(low));
    };
    return {at(0.25), at(0.5), values.front(), values.back()};
}

}  // namespace starling::bench

#include "server/cli_doctor.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <optional>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include "net/send_ring.h"
#include "server/cli_client.h"
#include "server/config_settings.h"
#include "server/engine_factory.h"
#include "server/redis_check.h"

namespace starling::server {
namespace {

constexpr rlim_t kDescriptorsMin = 4096;       // A connection is one descriptor; fewer than this is a trial.
constexpr rlim_t kDescriptorsGood = 65'536;
constexpr long kBacklogMin = 1024;             // A reconnect storm must fit in the accept queue.
constexpr long kTcpMemoryMin = 512;            // Megabytes: 100,000 connections of which a twentieth wait with 100 KB.
constexpr std::time_t kPast = 1'704'067'200;   // 2024-01-01: a clock before it was never set.

class Report {
 public:
    void ok(const std::string& what) { line("ok", what); }
    void note(const std::string& what) { line("note", what); }
    void finding(const std::string& what) {
        line("finding", what);
        found_ = true;
    }
    bool found() const { return found_; }

 private:
    static void line(const char* grade, const std::string& what) { std::printf("%-8s %s\n", grade, what.c_str()); }
    bool found_ = false;
};

void check_descriptors(Report& report) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const std::string text = "descriptors: " + std::to_string(limit.rlim_max);
    // The gateway raises its soft limit to the hard one by itself.
    if (limit.rlim_max < kDescriptorsMin) {
        report.finding(text + ", below " + std::to_string(kDescriptorsMin) + ": raise LimitNOFILE or ulimit -Hn");
    } else if (limit.rlim_max < kDescriptorsGood) {
        report.note(text + ", a connection takes one each (LimitNOFILE or ulimit -Hn raises it)");
    } else {
        report.ok(text);
    }
    getrlimit(RLIMIT_CORE, &limit);
    if (limit.rlim_cur != 0) { report.note("core dumps: on, and a core holds tokens and keys (ulimit -c 0)"); }
}

void check_clock(Report& report) {
    const std::time_t now = std::time(nullptr);
    if (now < kPast) {
        report.finding("clock: before 2024, tokens would all be valid or none");
        return;
    }
    timex state{};
    const bool synchronised = adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;
    if (synchronised) { report.ok("clock: kept in step"); } else { report.note("clock: the kernel does not know it to be in step (NTP)"); }
}

void check_kernel(Report& report, const std::string& name, long least) {
    std::string path = "/proc/sys/" + name;
    for (char& c : path) { c = c == '.' ? '/' : c; }
    std::ifstream file(path);
    long value = 0;
    if (!(file >> value)) {
        report.note(name + ": cannot be read");
    } else if (value < least) {
        report.finding(name + ": " + std::to_string(value) + ", below " + std::to_string(least));
    } else {
        report.ok(name + ": " + std::to_string(value));
    }
}

void check_io_uring(Report& report, const std::string& setting) {
    if (setting == "off") {
        report.note("io_uring: switched off (server.io_uring)");
    } else if (net::SendRing::open()) {
        report.ok("io_uring: for sending to many");
    } else {
        report.note("io_uring: not to be had (Linux 6.1, kernel.io_uring_disabled, a container's seccomp): sending to many "
                    "takes a fifth more CPU");
    }
}

std::optional<long> kernel_number(const std::string& path) {
    std::ifstream file("/proc/sys/" + path);
    long value = 0;
    return file >> value ? std::optional(value) : std::nullopt;
}

// Where a firewall keeps track of connections, its table is a ceiling of its own, and past it packets are dropped without a word.
void check_tracking(Report& report) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const auto tracked = kernel_number("net/netfilter/nf_conntrack_count");
    const auto most = kernel_number("net/netfilter/nf_conntrack_max");
    if (!tracked || !most || *tracked == 0) { return; }      // Not in use here.
    const std::string text = "net.netfilter.nf_conntrack_max: " + std::to_string(*most);
    if (static_cast<rlim_t>(*most) < limit.rlim_max) {
        report.note(text + ", fewer than the descriptors; connections past it are dropped silently");
    } else {
        report.ok(text);
    }
}

// Pages for the buffers of all TCP connections: above the third number the kernel drops what peers send.
void check_tcp_memory(Report& report) {
    std::ifstream file("/proc/sys/net/ipv4/tcp_mem");
    long low = 0, pressure = 0, most = 0;
    if (!(file >> low >> pressure >> most)) { return; }
    const long megabytes = most * (sysconf(_SC_PAGESIZE) / 1024) / 1024;
    const std::string text = "net.ipv4.tcp_mem: at most " + std::to_string(megabytes) + " MB";
    if (megabytes < kTcpMemoryMin) {
        report.note(text + "; buffers of busy or slow clients may need more");
    } else {
        report.ok(text);
    }
}

void check_port(Report& report, const std::string& name, const std::string& address, HttpScheme scheme) {
    const auto endpoint = parse_endpoint(address);
    if (!endpoint) { return; }         // Refused when the configuration was loaded.
    addrinfo hints{};
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(endpoint->host.c_str(), std::to_string(endpoint->port).c_str(), &hints, &found); error != 0) {
        report.finding(name + ": " + address + ": " + gai_strerror(error));
        return;
    }
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool free = false;
    if (fd >= 0) {
        const int on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        free = bind(fd, found->ai_addr, found->ai_addrlen) == 0;
    }
    const int reason = errno;
    freeaddrinfo(found);
    if (fd >= 0) { close(fd); }
    if (free) {
        report.ok(name + ": " + address + " is free");
    } else if (reason == EADDRINUSE && is_alive(scheme, *endpoint)) {
        report.ok(name + ": " + address + " is served by a gateway");
    } else {
        report.finding(name + ": " + address + ": " + std::strerror(reason));
    }
}

void check_file(Report& report, const std::string& path) {
    struct stat state{};
    if (path.empty() || stat(path.c_str(), &state) != 0) { return; }
    if ((state.st_mode & S_IROTH) != 0) {
        report.note(path + ": readable by everybody, and it holds keys (chmod o-r)");
    } else {
        report.ok(path + ": not readable by others");
    }
}

void check_engine(Report& report, const Config& config, Duration patience) {
    if (config.engine.type == "memory") {
        report.ok("engine: embedded, nothing to reach");
        return;
    }
    auto settings = make_redis(config);
    auto tls = make_redis_tls(config);
    if (!settings || !tls) {
        report.finding("redis: " + (settings ? tls.error() : settings.error()));
        return;
    }
    const RedisCheck check = check_redis(std::move(*settings), std::move(*tls), patience);
    for (const engine::Finding& finding : check.findings) {
        if (finding.fatal || !check.reached) {
            report.finding("redis: " + finding.text);
        } else {
            report.note("redis: " + finding.text);
        }
    }
    if (check.reached) {
        report.ok("redis: ready in " + std::to_string(check.time / 1ms) + " ms");
    } else {
        report.finding("redis: not reached");
    }
}

}  // namespace

int run_doctor(const ConfigSources& sources, const std::expected<Config, ConfigErrors>& config, Duration redis_patience) {
    Report report;
    if (!config) {
        for (const std::string& error : config.error()) { report.finding("configuration: " + error); }
    } else {
        if (auto settings = make_settings(*config, {}); !settings) {
            for (const std::string& error : settings.error()) { report.finding("configuration: " + error); }
        } else {
            report.ok("configuration");
        }
        check_port(report, "server.listen", config->server.listen, config->server.certificate.empty() ? HttpScheme::http : HttpScheme::https);
        check_port(report, "server.admin", config->server.admin, HttpScheme::http);
        check_engine(report, *config, redis_patience);
    }
    if (config) { check_io_uring(report, config->server.io_uring); }
    check_file(report, sources.file);
    check_descriptors(report);
    check_clock(report);
    check_kernel(report, "net.core.somaxconn", kBacklogMin);
    check_kernel(report, "net.ipv4.tcp_max_syn_backlog", 512);
    check_tcp_memory(report);
    check_tracking(report);
    return report.found() ? 1 : 0;
}

}  // namespace starling::server

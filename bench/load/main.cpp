// The load tool: one scenario against one server after the other, run by run, so that what disturbs the
// machine disturbs them alike. Ends with JSON on stdout; a line for people goes to stderr for each run.

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "load/cluster.h"
#include "load/dialect.h"
#include "load/measure.h"
#include "load/publisher.h"
#include "load/raw_server.h"
#include "load/servers.h"
#include "load/target.h"
#include "load/wire.h"
#include "load/worker.h"

namespace starling::bench {

using namespace std::chrono_literals;

namespace {

using Figures = std::vector<std::pair<std::string, double>>;

pid_t start_process(bool pin, const std::function<void()>& work) {
    const pid_t child = ::fork();
    if (child == 0) {
        if (pin) { pin_to(-1); }
        work();
        ::_exit(0);
    }
    return child;
}

bool wait_until(const std::function<bool()>& holds, double seconds) {
    const std::uint64_t until = monotonic_ns() + static_cast<std::uint64_t>(seconds * 1e9);
    while (!holds()) {
        if (monotonic_ns() > until) { return false; }
        std::this_thread::sleep_for(2ms);
    }
    return true;
}

struct Run {
    Run(const std::string& name, const Options& options_in)
        : options(options_in), dialect(dialect_of(name, options_in)), servers(name, options_in),
          board(new (::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Board) {}
    ~Run() {
        for (const pid_t child : children) {
            ::kill(child, SIGKILL);
            ::waitpid(child, nullptr, 0);
        }
        ::munmap(board, sizeof(Board));
    }

    void start_clients() {
        const std::uint32_t total = options.mode == Mode::churn ? options.cycles : options.connections;
        for (std::uint32_t i = 0; i < options.processes; ++i) {
            Share share;
            share.first = static_cast<std::uint32_t>(std::uint64_t{total} * i / options.processes);
            share.count = static_cast<std::uint32_t>(std::uint64_t{total} * (i + 1) / options.processes) - share.first;
            share.in_flight = std::max(1U, options.in_flight / options.processes);
            share.ports = servers.ports();
            children.push_back(start_process(options.pin, [this, share, i] { run_clients(options, *dialect, share, *board, board->clients[i]); }));
        }
    }

    double client_seconds() const {
        double seconds = 0;
        for (const pid_t child : children) { seconds += cpu_seconds(child); }
        return seconds;
    }

    void stop_clients() {
        board->phase = Phase::stop;
        for (const pid_t child : children) { ::waitpid(child, nullptr, 0); }
        children.clear();
    }

    const Options& options;
    std::unique_ptr<Dialect> dialect;
    Servers servers;
    Board* board;
    std::vector<pid_t> children;
    Figures figures;
    std::string failure;
};

// A server that has said its port may have memory yet that it needs for its start alone.
std::uint64_t memory_before(const Run& run) {
    std::uint64_t last = run.servers.anonymous_pss();
    wait_until([&] {
        std::this_thread::sleep_for(200ms);
        const std::uint64_t before = std::exchange(last, run.servers.anonymous_pss());
        return before == last;
    }, 5);
    return last;
}

bool connect_all(Run& run) {
    const std::uint64_t memory = memory_before(run);
    const std::uint64_t kernel = kernel_socket_bytes();
    const double cpu = run.servers.cpu(), redis = run.servers.redis_cpu();
    const std::uint64_t begin = monotonic_ns();
    run.start_clients();
    const std::uint64_t wanted = run.options.connections;
    wait_until([&] { return run.board->sum(&ClientPart::ready) + run.board->sum(&ClientPart::failed) >= wanted; },
               20 + static_cast<double>(wanted) / 200);
    const double seconds = static_cast<double>(monotonic_ns() - begin) / 1e9;
    const std::uint64_t ready = run.board->sum(&ClientPart::ready);
    if (ready != wanted) {
        run.failure = fmt::format("{} of {} connections were made", ready, wanted);
        return false;
    }
    const auto count = static_cast<double>(wanted);
    run.figures.emplace_back("connect_s", seconds);
    run.figures.emplace_back("connect_cpu_us", (run.servers.cpu() - cpu) / count * 1e6);
    if (run.options.nodes > 1) { run.figures.emplace_back("connect_redis_cpu_us", (run.servers.redis_cpu() - redis) / count * 1e6); }
    if (run.options.mode == Mode::idle) {
        const double before = run.servers.cpu();
        std::this_thread::sleep_for(3s);
        run.figures.emplace_back("idle_cpu_ms_per_s", (run.servers.cpu() - before) / 3 * 1e3);
    }
    run.figures.emplace_back("pss_bytes", (static_cast<double>(run.servers.anonymous_pss()) - static_cast<double>(memory)) / count);
    run.figures.emplace_back("kernel_bytes_both_ends", (static_cast<double>(kernel_socket_bytes()) - static_cast<double>(kernel)) / count);
    return true;
}

void publish_all(Run& run) {
    run.children.push_back(start_process(run.options.pin, [&run] {
        run_publisher(run.options, run.servers.ports()[0], *run.dialect, *run.board);
    }));
    Board& board = *run.board;
    wait_until([&] { return board.publisher_ready || board.publisher_done; }, 20);
    if (!board.publisher_ready) {
        run.failure = "the publisher could not connect";
        return;
    }
    std::this_thread::sleep_for(200ms);
    const double cpu = run.servers.cpu(), redis = run.servers.redis_cpu();
    const double others = run.client_seconds();
    const std::uint64_t begin = monotonic_ns();
    board.phase = Phase::run;
    wait_until([&] { return board.publisher_done.load(); }, 600);
    const double seconds = static_cast<double>(monotonic_ns() - begin) / 1e9;
    const double spent = run.servers.cpu() - cpu;
    const double redis_spent = run.servers.redis_cpu() - redis;
    const double client_spent = run.client_seconds() - others;
    run.stop_clients();
    const auto received = static_cast<double>(board.sum(&ClientPart::received));
    Histogram latency, same, other;
    for (const ClientPart& part : board.clients) {
        same.add(part.latency);
        other.add(part.latency_elsewhere);
    }
    latency.add(same);
    latency.add(other);
    double expected = 0;                     // Each room has connections / rooms of them, give or take one.
    const std::uint64_t rounds = run.options.messages;
    for (std::uint32_t i = 0; i < run.options.publishers; ++i) {
        const std::uint32_t mine = (run.options.rooms - i + run.options.publishers - 1) / run.options.publishers;
        for (std::uint32_t k = 0; k < mine; ++k) {
            const std::uint32_t room = i + k * run.options.publishers;
            const std::uint64_t members = (run.options.connections - room + run.options.rooms - 1) / run.options.rooms;
            const std::uint64_t times = rounds / mine + (k < rounds % mine ? 1 : 0);
            expected += static_cast<double>(members * times * run.options.burst);
        }
    }
    run.figures.insert(run.figures.end(),
                       {{"deliveries", received},
                        {"cpu_s_per_million", spent / received * 1e6},
                        {"deliveries_per_s", received / seconds},
                        {"server_cpu_share", spent / seconds},
                        {"client_cpu_share", client_spent / seconds},
                        {"p50_ms", latency.quantile(0.5) / 1e6},
                        {"p99_ms", latency.quantile(0.99) / 1e6},
                        {"max_ms", latency.quantile(0.999999) / 1e6},
                        {"lost", expected - received + static_cast<double>(board.sum(&ClientPart::repeated))},
                        {"repeated_or_late", static_cast<double>(board.sum(&ClientPart::repeated))},
                        {"late_rounds", static_cast<double>(board.late_rounds.load())}});
    if (run.options.nodes == 1) { return; }
    run.figures.insert(run.figures.end(), {{"redis_cpu_s_per_million", redis_spent / received * 1e6},
                                           {"all_cpu_s_per_million", (spent + redis_spent) / received * 1e6},
                                           {"redis_cpu_share", redis_spent / seconds},
                                           {"p50_same_node_ms", same.quantile(0.5) / 1e6},
                                           {"p99_same_node_ms", same.quantile(0.99) / 1e6},
                                           {"p50_other_node_ms", other.quantile(0.5) / 1e6},
                                           {"p99_other_node_ms", other.quantile(0.99) / 1e6}});
}

void churn(Run& run) {
    run.start_clients();
    std::this_thread::sleep_for(200ms);
    const double cpu = run.servers.cpu();
    const double others = run.client_seconds();
    const std::uint64_t begin = monotonic_ns();
    run.board->phase = Phase::run;
    const std::uint64_t wanted = run.options.cycles;
    wait_until([&] { return run.board->sum(&ClientPart::ready) + run.board->sum(&ClientPart::failed) >= wanted; },
               20 + static_cast<double>(wanted) / 200);
    const double seconds = static_cast<double>(monotonic_ns() - begin) / 1e9;
    const double spent = run.servers.cpu() - cpu;
    const double client_spent = run.client_seconds() - others;
    const auto done = static_cast<double>(run.board->sum(&ClientPart::ready));
    if (done == 0) {
        run.failure = "no cycle was completed";
        return;
    }
    run.figures = {{"cycles", done}, {"failed", static_cast<double>(run.board->sum(&ClientPart::failed))},
                   {"cpu_us_per_cycle", spent / done * 1e6}, {"cycles_per_s", done / seconds},
                   {"server_cpu_share", spent / seconds}, {"client_cpu_share", client_spent / seconds}};
}

std::string short_name(const std::string& target) {
    return is_raw(target) || is_peer(target) ? target : target.substr(target.rfind('/') + 1);
}

int measure(const Options& options) {
    std::vector<std::map<std::string, std::vector<double>>> columns(options.targets.size());
    std::vector<std::string> order;
    std::vector<std::string> failures(options.targets.size());
    bool failed = false;
    for (std::uint32_t round = 0; round < options.runs; ++round) {
        for (std::size_t i = 0; i < options.targets.size(); ++i) {
            if (!failures[i].empty()) { continue; }
            Run run(options.targets[i], options);
            run.failure = run.servers.failure();
            if (run.failure.empty() && options.mode == Mode::churn) {
                churn(run);
            } else if (run.failure.empty() && connect_all(run) && options.mode != Mode::idle) {
                publish_all(run);
            }
            std::string line = fmt::format("run {} {}:", round + 1, short_name(options.targets[i]));
            if (run.servers.absent()) {
                failures[i] = "not installed";
                line += " skipped: not installed";
            } else if (!run.failure.empty()) {
                failed = true;
                failures[i] = run.failure;
                line += " FAILED, " + run.failure;
            }
            for (const auto& [name, value] : run.figures) {
                if (columns[i][name].empty() && std::ranges::find(order, name) == order.end()) { order.push_back(name); }
                columns[i][name].push_back(value);
                line += fmt::format(" {}={:.6g}", name, value);
            }
            fmt::print(stderr, "{}\n", line);
        }
    }
    std::string out = "{\"runs\":" + std::to_string(options.runs) + ",\"targets\":[";
    for (std::size_t i = 0; i < options.targets.size(); ++i) {
        out += fmt::format("{}\n {{\"target\":\"{}\"", i == 0 ? "" : ",", short_name(options.targets[i]));
        if (!failures[i].empty()) { out += fmt::format(",\n  \"failure\":\"{}\"", failures[i]); }
        for (const std::string& name : order) {
            if (columns[i][name].empty()) { continue; }
            const Spread spread = spread_of(columns[i][name]);
            out += fmt::format(",\n  \"{}\":{{\"lower_quartile\":{:.6g},\"median\":{:.6g},\"least\":{:.6g},\"most\":{:.6g}", name,
                               spread.lower_quartile, spread.median, spread.least, spread.most);
            out += fmt::format(",\"values\":[{:.6g}]", fmt::join(columns[i][name], ","));
            const auto& first = columns[0][name];
            if (i > 0 && !first.empty() && spread_of(first).lower_quartile > 0) {
                const Spread base = spread_of(first);
                out += fmt::format(",\"ratio_to_first\":{{\"lower_quartile\":{:.4g},\"median\":{:.4g}}}",
                                   spread.lower_quartile / base.lower_quartile, spread.median / base.median);
            }
            out += "}";
        }
        out += "}";
    }
    fmt::print("{}\n]}}\n", out);
    return failed ? 1 : 0;
}

}  // namespace

}  // namespace starling::bench

int main(int count, char** words) {
    using namespace starling::bench;
    if (count > 1 && std::string_view(words[1]) == "cluster") {
        const auto cluster = parse_cluster_options(count, words);
        if (cluster) { return run_cluster(*cluster); }
        fmt::print(stderr, "{}\n", cluster.error());
        return 2;
    }
    const auto options = parse_options(count, words);
    if (!options) {
        fmt::print(stderr, "{}\n", options.error());
        return 2;
    }
    for (const std::string& target : options->targets) {
        if (dialect_of(target, *options) == nullptr) {
            fmt::print(stderr, "{}: there is no such peer\n", target);
            return 2;
        }
        if (options->nodes > 1 && !has_nodes(target)) {
            fmt::print(stderr, "{}: it does not come as several nodes over one Redis\n", target);
            return 2;
        }
    }
    if (options->serve_raw) { serve_raw(options->serve_writev ? Writing::writev : Writing::send); }
    return measure(*options);
}

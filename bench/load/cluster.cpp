#include "load/cluster.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "load/cluster_board.h"
#include "load/cluster_clients.h"
#include "load/cluster_nodes.h"
#include "load/kernel.h"
#include "load/measure.h"

namespace starling::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kMemoryLeast = 1ULL << 30;       // Below it the run ends before the machine suffers.
constexpr std::uint32_t kMissedMessages = 2;             // To every room while clients are away.

double seconds_since(std::uint64_t begin) { return static_cast<double>(monotonic_ns() - begin) / 1e9; }

// One phase's figures, as JSON and as a line for people.
class Figures {
 public:
    explicit Figures(std::string name) : name_(std::move(name)) {}
    void add(std::string_view name, double value) { raw(name, fmt::format("{:.6g}", value)); }
    void add(std::string_view name, std::uint64_t value) { raw(name, std::to_string(value)); }
    void raw(std::string_view name, std::string_view json) {
        json_ += fmt::format("{}\n   \"{}\":{}", json_.empty() ? "" : ",", name, json);
        line_ += fmt::format(" {}={}", name, json);
    }
    void add(std::string_view name, const Histogram& times) {
        std::uint64_t count = 0;
        for (const std::uint64_t each : times.counts) { count += each; }
        if (count == 0) { return; }
        raw(name, fmt::format(R"({{"count":{},"p50_ms":{:.3g},"p90_ms":{:.3g},"p99_ms":{:.3g},"p999_ms":{:.3g},"max_ms":{:.3g}}})", count,
                              times.quantile(0.5) / 1e6, times.quantile(0.9) / 1e6, times.quantile(0.99) / 1e6,
                              times.quantile(0.999) / 1e6, times.quantile(0.9999999) / 1e6));
    }
    std::string finish() const {
        fmt::print(stderr, "{}:{}\n", name_, line_);
        return fmt::format("\n  \"{}\":{{{}}}", name_, json_);
    }

 private:
    std::string name_, json_, line_;
};

class Cluster {
 public:
    explicit Cluster(const ClusterOptions& options)
        : options_(options), begin_ns_(monotonic_ns()), nodes_(options),
          board_(new (::mmap(nullptr, sizeof(ClusterBoard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) ClusterBoard) {}
    ~Cluster() {
        for (const pid_t child : clients_) { ::kill(child, SIGKILL); }
        for (const pid_t child : clients_) { ::waitpid(child, nullptr, 0); }
        ::munmap(board_, sizeof(ClusterBoard));
    }

    int run() {
        failure_ = nodes_.failure();
        if (failure_.empty()) { phases(); }
        if (!failure_.empty()) { fmt::print(stderr, "FAILED, {}\n", failure_); }
        fmt::print("{{\"connections\":{},\"nodes\":{},\"client_processes\":{},\"room_members\":{},\"presence\":{},\"history\":{},"
                   "\"redis\":{},\"failure\":\"{}\",\"seconds\":{:.4g},\"phases\":{{{}\n }}}}\n",
                   options_.connections, options_.nodes, options_.processes, kRoomSize, options_.presence, options_.history,
                   !options_.apart, failure_, seconds_since(begin_ns_), out_);
        return failure_.empty() && wrong_ == 0 ? 0 : 1;
    }

 private:
    void phases() {
        const double empty = static_cast<double>(nodes_.pss());
        base_pss_ = empty;
        base_slab_ = static_cast<double>(kernel_socket_bytes());
        base_available_ = static_cast<double>(available_bytes());
        share_ports();
        start_clients();
        if (!connect()) { return; }
        rest();
        if (options_.presence && options_.samples > 0) {
            probe(Step::joins, "joins");
            probe(Step::typing, "typing");
            audit("after joins");
        }
        if (options_.rate > 0) { publish(); }
        if (options_.all_channel) { message_to_all(); }
        if (options_.storm_seconds > 0 && failure_.empty()) { storm(); }
        if (options_.kill_backoff > 0 && failure_.empty()) { kill_one(); }
        order(Step::stop);
    }

    void share_ports() {
        for (std::size_t i = 0; i < nodes_.nodes().size(); ++i) { board_->ports[i] = nodes_.nodes()[i].port; }
        board_->nodes = static_cast<std::uint32_t>(nodes_.nodes().size());
    }

    void start_clients() {
        const std::uint32_t rooms = options_.connections / kRoomSize;
        const pid_t parent = ::getpid();
        for (std::uint32_t i = 0; i < options_.processes; ++i) {
            const auto first = static_cast<std::uint32_t>(std::uint64_t{rooms} * i / options_.processes);
            const auto end = static_cast<std::uint32_t>(std::uint64_t{rooms} * (i + 1) / options_.processes);
            const ClusterShare share{.process = i, .first = first * kRoomSize, .count = (end - first) * kRoomSize,
                                     .in_flight = std::max(1U, options_.in_flight / options_.processes)};
            const pid_t child = ::fork();
            if (child == 0) {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (::getppid() == parent) { run_cluster_clients(options_, share, *board_); }
                ::_exit(0);
            }
            clients_.push_back(child);
        }
    }

    void order(Step step, std::uint32_t value = 0) {
        board_->step = step;
        board_->value = value;
        ++board_->order;
    }

    // False: the time is over, or the machine's memory; `curve` gets how many are open, each second.
    bool wait_for(double seconds, const std::function<bool()>& holds, std::vector<std::uint64_t>* curve = nullptr) {
        const std::uint64_t begin = monotonic_ns();
        while (!holds()) {
            const double passed = seconds_since(begin);
            if (curve != nullptr && passed >= static_cast<double>(curve->size() + 1)) { curve->push_back(open()); }
            if (available_bytes() < kMemoryLeast) { failure_ = "less than 1 GiB of memory was left"; }
            if (passed > seconds || seconds_since(begin_ns_) > options_.limit_s || !failure_.empty()) { return false; }
            std::this_thread::sleep_for(4ms);
        }
        if (curve != nullptr) { curve->push_back(open()); }
        return true;
    }

    std::uint64_t open() const { return board_->sum(&ClusterPart::open); }
    bool all_open() const { return open() == options_.connections; }
    bool all_done() const {
        for (std::uint32_t i = 0; i < options_.processes; ++i) {
            if (board_->parts[i].done.load(std::memory_order_acquire) != board_->order) { return false; }
        }
        return true;
    }
    double clients_cpu() const {
        double seconds = 0;
        for (const pid_t child : clients_) { seconds += cpu_seconds(child); }
        return seconds;
    }
    double count() const { return options_.connections; }

    void add_memory(Figures& figures) {
        figures.add("nodes_pss_mb", (static_cast<double>(nodes_.pss()) - base_pss_) / 1e6);
        figures.add("nodes_pss_bytes_each", (static_cast<double>(nodes_.pss()) - base_pss_) / count());
        figures.add("nodes_pss_with_empty_nodes_mb", static_cast<double>(nodes_.pss()) / 1e6);
        figures.add("kernel_slabs_mb", (static_cast<double>(kernel_socket_bytes()) - base_slab_) / 1e6);
        figures.add("kernel_slab_bytes_both_ends", (static_cast<double>(kernel_socket_bytes()) - base_slab_) / count());
        figures.add("machine_memory_mb", (base_available_ - static_cast<double>(available_bytes())) / 1e6);
        double clients = 0;
        for (const pid_t child : clients_) { clients += static_cast<double>(pss_bytes(child)); }
        figures.add("clients_pss_mb", clients / 1e6);
        if (nodes_.redis() > 0) { figures.add("redis_rss_mb", static_cast<double>(nodes_.redis_info("used_memory_rss")) / 1e6); }
    }

    void add_drops(Figures& figures, const KernelDrops& before) {
        const KernelDrops now = kernel_drops();
        figures.add("listen_overflows", now.listen_overflows - before.listen_overflows);
        figures.add("syn_drops", now.request_queue_full - before.request_queue_full);
        figures.add("retransmit_timeouts", now.timeouts - before.timeouts);
    }

    bool connect() {
        Figures figures("connect");
        const KernelDrops drops = kernel_drops();
        const double cpu = nodes_.cpu(), redis_cpu = nodes_.redis_cpu(), clients = clients_cpu();
        const std::uint64_t begin = monotonic_ns();
        std::vector<std::uint64_t> curve;
        order(Step::connect);
        const bool whole = wait_for(30 + count() / 1000, [&] { return all_open(); }, &curve);
        const double seconds = seconds_since(begin);
        figures.add("open", open());
        figures.add("seconds", seconds);
        figures.add("failed_attempts", board_->sum(&ClusterPart::failures));
        figures.add("cut", board_->sum(&ClusterPart::cut));
        figures.add("node_cpu_us_each", (nodes_.cpu() - cpu) / count() * 1e6);
        figures.add("redis_cpu_us_each", (nodes_.redis_cpu() - redis_cpu) / count() * 1e6);
        figures.add("clients_cpu_us_each", (clients_cpu() - clients) / count() * 1e6);
        add_drops(figures, drops);
        figures.raw("open_each_second", fmt::format("[{}]", fmt::join(curve, ",")));
        if (!whole && failure_.empty()) { failure_ = fmt::format("{} of {} connections were made", open(), options_.connections); }
        out_ += figures.finish();
        return whole && audit("after connecting");
    }

    // Events may still be on their way, so views have 15 s to become exact; how long it took is told.
    bool audit(std::string_view when) {
        if (!options_.presence || !failure_.empty()) { return true; }
        Figures figures(fmt::format("audit {}", when));
        const std::uint64_t begin = monotonic_ns();
        std::uint64_t at_once = 0;
        bool first = true, exact = false;
        while (!exact && seconds_since(begin) < 15) {
            order(Step::audit);
            if (!wait_for(10, [&] { return all_done(); })) { break; }
            exact = board_->sum(&ClusterPart::wrong_views) == 0;
            if (first) { at_once = board_->sum(&ClusterPart::wrong_views); }
            first = false;
            if (!exact) { std::this_thread::sleep_for(20ms); }
        }
        figures.add("wrong_views", board_->sum(&ClusterPart::wrong_views));
        figures.add("wrong_views_at_once", at_once);
        figures.add("seconds_until_exact", seconds_since(begin));
        figures.add("missing", board_->sum(&ClusterPart::missing));
        figures.add("extra", board_->sum(&ClusterPart::extra));
        for (const auto& [name, member] : kJudgements) {
            figures.add(name, board_->sum(member));
            if (member != &ClusterPart::joins && member != &ClusterPart::leaves) { wrong_ += board_->sum(member); }
        }
        wrong_ += board_->sum(&ClusterPart::wrong_views);
        out_ += "," + figures.finish();
        return true;
    }

    void rest() {
        std::this_thread::sleep_for(3s);
        Figures figures("rest");
        add_memory(figures);
        const double cpu = nodes_.cpu(), redis_cpu = nodes_.redis_cpu();
        const std::uint64_t commands = nodes_.redis_info("total_commands_processed");
        const std::uint64_t begin = monotonic_ns();
        std::this_thread::sleep_for(std::chrono::duration<double>(options_.rest_seconds));
        const double seconds = seconds_since(begin);
        figures.add("nodes_cpu_share", (nodes_.cpu() - cpu) / seconds);
        if (nodes_.redis() > 0) {
            figures.add("redis_cpu_share", (nodes_.redis_cpu() - redis_cpu) / seconds);
            figures.add("redis_commands_per_s", static_cast<double>(nodes_.redis_info("total_commands_processed") - commands) / seconds);
        }
        figures.add("cut", board_->sum(&ClusterPart::cut));
        out_ += "," + figures.finish();
    }

    void probe(Step step, const char* name) {
        Figures figures(name);
        const std::uint64_t awaited = board_->sum(&ClusterPart::samples), unseen = board_->sum(&ClusterPart::unseen);
        order(step);
        if (!wait_for(20 + options_.samples / 20.0, [&] { return all_done(); })) { failure_ = std::string(name) + " took too long"; }
        figures.add("awaited", board_->sum(&ClusterPart::samples) - awaited);
        figures.add("not_seen_in_5_s", board_->sum(&ClusterPart::unseen) - unseen);
        wrong_ += board_->sum(&ClusterPart::unseen) - unseen;
        if (step == Step::joins) {
            figures.add("join_on_another_node", board_->merged(&ClusterPart::join_other));
            figures.add("join_on_the_same_node", board_->merged(&ClusterPart::join_same));
            figures.add("leave_on_another_node", board_->merged(&ClusterPart::leave_other));
        } else {
            figures.add("typing_on_another_node", board_->merged(&ClusterPart::typing_other));
            figures.add("typing_on_the_same_node", board_->merged(&ClusterPart::typing_same));
        }
        out_ += "," + figures.finish();
    }

    void publish() {
        Figures figures("publish");
        const double cpu = nodes_.cpu(), redis_cpu = nodes_.redis_cpu();
        const std::uint64_t begin = monotonic_ns();
        order(Step::publish);
        if (!wait_for(options_.seconds * 2 + 20, [&] { return all_done(); })) { failure_ = "publishing took too long"; }
        const auto expected = [&] { return board_->sum(&ClusterPart::published) * kRoomSize; };
        wait_for(10, [&] { return board_->sum(&ClusterPart::received) >= expected(); });
        const double seconds = seconds_since(begin);
        const std::uint64_t received = board_->sum(&ClusterPart::received);
        figures.add("published", board_->sum(&ClusterPart::published));
        figures.add("deliveries", received);
        figures.add("deliveries_per_s", static_cast<double>(received) / seconds);
        figures.add("not_delivered", expected() - std::min(expected(), received));
        figures.add("lost", board_->sum(&ClusterPart::lost));
        figures.add("repeated_or_late", board_->sum(&ClusterPart::repeated));
        figures.add("on_another_node", board_->merged(&ClusterPart::message_other));
        figures.add("on_the_same_node", board_->merged(&ClusterPart::message_same));
        figures.add("node_cpu_s_per_million", (nodes_.cpu() - cpu) / static_cast<double>(std::max<std::uint64_t>(received, 1)) * 1e6);
        if (nodes_.redis() > 0) {
            figures.add("redis_cpu_us_per_message", (nodes_.redis_cpu() - redis_cpu) / static_cast<double>(board_->sum(&ClusterPart::published)) * 1e6);
        }
        wrong_ += expected() - std::min(expected(), received) + board_->sum(&ClusterPart::repeated);
        out_ += "," + figures.finish();
    }

    void message_to_all() {
        Figures figures("message to all");
        std::vector<double> times;
        const double cpu = nodes_.cpu();
        for (std::uint32_t i = 1; i <= options_.all_messages; ++i) {
            const std::uint64_t begin = monotonic_ns();
            order(Step::all, i);
            wait_for(20, [&] { return board_->sum(&ClusterPart::all_received) >= std::uint64_t{i} * options_.connections; });
            std::uint64_t last = 0;
            for (const ClusterPart& part : board_->parts) { last = std::max(last, part.all_last_ns.load()); }
            times.push_back(last > begin ? static_cast<double>(last - begin) / 1e9 : 0);
            std::this_thread::sleep_for(500ms);
        }
        const std::uint64_t expected = std::uint64_t{options_.all_messages} * options_.connections;
        const std::uint64_t received = board_->sum(&ClusterPart::all_received);
        figures.add("not_delivered", expected - std::min(expected, received));
        figures.add("repeated", received - std::min(expected, received));
        figures.add("median_seconds_to_the_last", spread_of(times).median);
        figures.add("most_seconds_to_the_last", spread_of(times).most);
        figures.add("node_cpu_s_per_million", (nodes_.cpu() - cpu) / static_cast<double>(std::max<std::uint64_t>(received, 1)) * 1e6);
        wrong_ += expected - std::min(expected, received);
        out_ += "," + figures.finish();
    }

    // To each room, while clients are away: whoever comes back must get it, once.
    bool publish_missed(std::uint32_t number) {
        const std::uint32_t rooms = options_.connections / kRoomSize;
        for (std::uint32_t first = 0; first < rooms; first += 500) {
            std::string channels;
            for (std::uint32_t room = first; room < std::min(rooms, first + 500); ++room) {
                channels += fmt::format("{}\"room-{}\"", channels.empty() ? "" : ",", room);
            }
            const std::string data = stamp_json({kMissedRoom, number, monotonic_ns()}, "");
            if (nodes_.post("/v1/broadcast", fmt::format(R"({{"channels":[{}],"data":{}}})", channels, data)) != 200) { return false; }
        }
        return true;
    }

    // After `begin` everybody comes back by themselves.
    void come_back(Figures& figures, std::uint32_t first_message, double patience, std::uint64_t begin, const KernelDrops& drops) {
        const std::uint64_t failures = board_->sum(&ClusterPart::failures), missed = board_->sum(&ClusterPart::missed_received);
        const std::uint64_t again = board_->sum(&ClusterPart::missed_repeated), resumed = board_->sum(&ClusterPart::resumed);
        const std::uint64_t recovered = board_->sum(&ClusterPart::recovered), lost = board_->sum(&ClusterPart::not_recovered);
        const double cpu = nodes_.cpu(), redis_cpu = nodes_.redis_cpu(), clients = clients_cpu();
        std::vector<std::uint64_t> curve;
        const std::uint64_t expected = options_.history > 0 ? std::uint64_t{kMissedMessages} * options_.connections : 0;
        figures.add("away", options_.connections - open());
        std::atomic<bool> refused = false;
        std::thread publisher([&] {
            for (std::uint32_t i = 0; options_.history > 0 && i < kMissedMessages; ++i) {
                if (!publish_missed(first_message + i)) { refused = true; }
            }
        });
        const bool whole = wait_for(patience, [&] { return all_open(); }, &curve);
        figures.add("seconds_until_all_are_back", seconds_since(begin));
        publisher.join();
        if (refused) { failure_ = "a broadcast failed"; }
        const auto got = [&] { return board_->sum(&ClusterPart::missed_received) - missed; };
        wait_for(10, [&] { return got() >= expected; });
        figures.add("open", open());
        figures.add("failed_attempts", board_->sum(&ClusterPart::failures) - failures);
        figures.add("resumed", board_->sum(&ClusterPart::resumed) - resumed);
        figures.add("recovered", board_->sum(&ClusterPart::recovered) - recovered);
        figures.add("not_recovered", board_->sum(&ClusterPart::not_recovered) - lost);
        figures.add("sent_meanwhile", expected);
        figures.add("of_them_missing", expected - std::min(expected, got()));
        figures.add("of_them_twice", board_->sum(&ClusterPart::missed_repeated) - again);
        figures.add("node_cpu_s", nodes_.cpu() - cpu);
        figures.add("redis_cpu_s", nodes_.redis_cpu() - redis_cpu);
        figures.add("clients_cpu_s", clients_cpu() - clients);
        add_drops(figures, drops);
        figures.raw("open_each_second", fmt::format("[{}]", fmt::join(curve, ",")));
        wrong_ += expected - std::min(expected, got()) + board_->sum(&ClusterPart::missed_repeated) - again + (whole ? 0 : 1);
        if (!whole && failure_.empty()) { failure_ = fmt::format("{} of {} connections came back", open(), options_.connections); }
        out_ += "," + figures.finish();
    }

    void storm() {
        Figures figures("storm");
        const KernelDrops drops = kernel_drops();
        const std::uint64_t begin = monotonic_ns();
        order(Step::storm);
        wait_for(10, [&] { return all_done(); });
        figures.add("all_come_back_within_s", options_.storm_seconds);
        figures.add("seconds_to_cut_all", seconds_since(begin));
        come_back(figures, 1, options_.storm_seconds + 120, begin, drops);
        audit("after the storm");
    }

    void kill_one() {
        // A process may hold 20,000 descriptors here and six of them are nearly full: the dead node is replaced.
        if (!nodes_.start_node()) {
            failure_ = nodes_.failure();
            return;
        }
        share_ports();
        std::this_thread::sleep_for(2s);
        Figures figures("kill");
        const KernelDrops drops = kernel_drops();
        const std::uint64_t begin = monotonic_ns();
        nodes_.kill_node(options_.nodes - 1);
        wait_for(5, [&] { return !all_open(); });
        come_back(figures, 1 + kMissedMessages, 60, begin, drops);
        std::this_thread::sleep_for(12s);    // Lease, two heartbeats and a second: leaves would be told by now.
        audit("after the kill");
    }

    static constexpr std::pair<std::string_view, Counter ClusterPart::*> kJudgements[] = {
        {"joins", &ClusterPart::joins}, {"leaves", &ClusterPart::leaves}, {"false_joins", &ClusterPart::false_joins},
        {"false_leaves", &ClusterPart::false_leaves}, {"repeated_joins", &ClusterPart::repeated_joins},
        {"repeated_leaves", &ClusterPart::repeated_leaves}, {"odd_snapshots", &ClusterPart::odd_snapshots},
        {"errors", &ClusterPart::errors}, {"unsubscribed", &ClusterPart::unsubscribed}};

    const ClusterOptions& options_;
    std::uint64_t begin_ns_;
    ClusterNodes nodes_;
    ClusterBoard* board_;
    std::vector<pid_t> clients_;
    double base_pss_ = 0, base_slab_ = 0, base_available_ = 0;
    std::string out_, failure_;
    std::uint64_t wrong_ = 0;
};

}  // namespace

int run_cluster(const ClusterOptions& options) { return Cluster(options).run(); }

}  // namespace starling::bench

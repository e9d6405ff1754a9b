#include "load/cluster.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>

#include "load/cluster_clients.h"
#include "load/cluster_run.h"

namespace starling::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kMemoryLeast = 1ULL << 30;       // Below it the run ends before the machine suffers.

}  // namespace

Cluster::Cluster(const ClusterOptions& options)
    : options_(options), begin_ns_(monotonic_ns()), nodes_(options),
      board_(new (::mmap(nullptr, sizeof(ClusterBoard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) ClusterBoard) {}

Cluster::~Cluster() {
    for (const pid_t child : clients_) { ::kill(child, SIGKILL); }
    for (const pid_t child : clients_) { ::waitpid(child, nullptr, 0); }
    ::munmap(board_, sizeof(ClusterBoard));
}

int Cluster::run() {
    failure_ = nodes_.failure();
    if (failure_.empty()) { phases(); }
    if (!failure_.empty()) { fmt::print(stderr, "FAILED, {}\n", failure_); }
    fmt::print("{{\"connections\":{},\"nodes\":{},\"client_processes\":{},\"room_members\":{},\"presence\":{},\"history\":{},"
               "\"redis\":{},\"failure\":\"{}\",\"seconds\":{:.4g},\"phases\":{{{}\n }}}}\n",
               options_.connections, options_.nodes, options_.processes, kRoomSize, options_.presence, options_.history,
               !options_.apart, failure_, seconds_since(begin_ns_), out_);
    return failure_.empty() && wrong_ == 0 ? 0 : 1;
}

void Cluster::phases() {
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

void Cluster::share_ports() {
    for (std::size_t i = 0; i < nodes_.nodes().size(); ++i) { board_->ports[i] = nodes_.nodes()[i].port; }
    board_->nodes = static_cast<std::uint32_t>(nodes_.nodes().size());
}

void Cluster::start_clients() {
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

void Cluster::order(Step step, std::uint32_t value) {
    board_->step = step;
    board_->value = value;
    ++board_->order;
}

bool Cluster::wait_for(double seconds, const std::function<bool()>& holds, std::vector<std::uint64_t>* curve) {
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

bool Cluster::all_done() const {
    for (std::uint32_t i = 0; i < options_.processes; ++i) {
        if (board_->parts[i].done.load(std::memory_order_acquire) != board_->order) { return false; }
    }
    return true;
}

double Cluster::clients_cpu() const {
    double seconds = 0;
    for (const pid_t child : clients_) { seconds += cpu_seconds(child); }
    return seconds;
}

void Cluster::add_memory(Figures& figures) {
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

void Cluster::add_drops(Figures& figures, const KernelDrops& before) {
    const KernelDrops now = kernel_drops();
    figures.add("listen_overflows", now.listen_overflows - before.listen_overflows);
    figures.add("syn_drops", now.request_queue_full - before.request_queue_full);
    figures.add("retransmit_timeouts", now.timeouts - before.timeouts);
}

int run_cluster(const ClusterOptions& options) { return Cluster(options).run(); }

}  // namespace starling::bench

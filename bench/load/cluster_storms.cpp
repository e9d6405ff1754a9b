// Many go at once and come back by themselves: cut connections, and a node that dies.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "load/cluster_clients.h"
#include "load/cluster_run.h"
#include "load/wire.h"

namespace starling::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t kMissedMessages = 2;             // To every room while clients are away.

}  // namespace

bool Cluster::publish_missed(std::uint32_t number) {
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

void Cluster::come_back(Figures& figures, std::uint32_t first_message, double patience, std::uint64_t begin, const KernelDrops& drops) {
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

void Cluster::storm() {
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

void Cluster::kill_one() {
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

}  // namespace starling::bench

// What is measured and audited while all are open.

#include <algorithm>
#include <chrono>
#include <thread>

#include "load/cluster_run.h"

namespace starling::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::pair<std::string_view, Counter ClusterPart::*> kJudgements[] = {
    {"joins", &ClusterPart::joins}, {"leaves", &ClusterPart::leaves}, {"false_joins", &ClusterPart::false_joins},
    {"false_leaves", &ClusterPart::false_leaves}, {"repeated_joins", &ClusterPart::repeated_joins},
    {"repeated_leaves", &ClusterPart::repeated_leaves}, {"odd_snapshots", &ClusterPart::odd_snapshots},
    {"errors", &ClusterPart::errors}, {"unsubscribed", &ClusterPart::unsubscribed}};

}  // namespace

bool Cluster::connect() {
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

bool Cluster::audit(std::string_view when) {
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

void Cluster::rest() {
    std::this_thread::sleep_for(3s);
    Figures figures("rest");
    add_memory(figures);
    const double cpu = nodes_.cpu(), redis_cpu = nodes_.redis_cpu();
    const std::uint64_t commands = nodes_.redis_info("total_commands_processed");
    const std::uint64_t begin = monotonic_ns();
    std::this_thread::sleep_for(std::chrono::duration<double>(options_.rest_seconds));
    const double seconds = seconds_since(begin);
    rest_share_ = (nodes_.cpu() - cpu) / seconds;
    rest_redis_share_ = (nodes_.redis_cpu() - redis_cpu) / seconds;
    figures.add("nodes_cpu_share", rest_share_);
    if (nodes_.redis() > 0) {
        figures.add("redis_cpu_share", rest_redis_share_);
        figures.add("redis_commands_per_s", static_cast<double>(nodes_.redis_info("total_commands_processed") - commands) / seconds);
    }
    figures.add("cut", board_->sum(&ClusterPart::cut));
    out_ += "," + figures.finish();
}

void Cluster::probe(Step step, const char* name) {
    Figures figures(name);
    const std::uint64_t awaited = board_->sum(&ClusterPart::samples), unseen = board_->sum(&ClusterPart::unseen);
    const double cpu = nodes_.cpu(), redis_cpu = nodes_.redis_cpu();
    const std::uint64_t begin = monotonic_ns();
    order(step);
    if (!wait_for(20 + options_.samples / 20.0, [&] { return all_done(); })) { failure_ = std::string(name) + " took too long"; }
    const double seconds = seconds_since(begin);
    const auto seen = static_cast<double>(std::max<std::uint64_t>(board_->sum(&ClusterPart::samples) - awaited, 1));
    figures.add("awaited", board_->sum(&ClusterPart::samples) - awaited);
    // Probes are paced, so what the time between them costs at rest is taken off.
    figures.add("node_cpu_us_per_change_seen", (nodes_.cpu() - cpu - rest_share_ * seconds) / seen * 1e6);
    if (nodes_.redis() > 0) { figures.add("redis_cpu_us_per_change_seen", (nodes_.redis_cpu() - redis_cpu - rest_redis_share_ * seconds) / seen * 1e6); }
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

void Cluster::publish() {
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
    figures.add("node_cpu_us_per_message", (nodes_.cpu() - cpu) / static_cast<double>(board_->sum(&ClusterPart::published)) * 1e6);
    if (nodes_.redis() > 0) {
        figures.add("redis_cpu_us_per_message", (nodes_.redis_cpu() - redis_cpu) / static_cast<double>(board_->sum(&ClusterPart::published)) * 1e6);
    }
    wrong_ += expected() - std::min(expected(), received) + board_->sum(&ClusterPart::repeated);
    out_ += "," + figures.finish();
}

void Cluster::message_to_all() {
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

}  // namespace starling::bench

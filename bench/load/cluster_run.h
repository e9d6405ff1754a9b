#pragma once
// One cluster run: its servers, its client processes, and what is found out of them phase by phase.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "load/cluster_board.h"
#include "load/cluster_figures.h"
#include "load/cluster_nodes.h"
#include "load/kernel.h"

namespace starling::bench {

class Cluster {
 public:
    explicit Cluster(const ClusterOptions& options);
    ~Cluster();
    Cluster(const Cluster&) = delete;
    // Prints the result as JSON; 0 where nothing failed and nothing was wrong.
    int run();

 private:
    void phases();

    // cluster_phases.cpp: while all are open.
    bool connect();
    // Events may still be on their way, so views have 15 s to become exact; how long it took is told.
    bool audit(std::string_view when);
    void rest();
    void probe(Step step, const char* name);
    void publish();
    void message_to_all();

    // cluster_storms.cpp: many go and come back.
    // To each room, while clients are away: whoever comes back must get it, once.
    bool publish_missed(std::uint32_t number);
    // After `begin` everybody comes back by themselves.
    void come_back(Figures& figures, std::uint32_t first_message, double patience, std::uint64_t begin, const KernelDrops& drops);
    void storm();
    void kill_one();

    void share_ports();
    void start_clients();
    void order(Step step, std::uint32_t value = 0);
    // False: the time is over, or the machine's memory; `curve` gets how many are open, each second.
    bool wait_for(double seconds, const std::function<bool()>& holds, std::vector<std::uint64_t>* curve = nullptr);
    bool all_done() const;
    double clients_cpu() const;
    void add_memory(Figures& figures);
    void add_drops(Figures& figures, const KernelDrops& before);
    std::uint64_t open() const { return board_->sum(&ClusterPart::open); }
    bool all_open() const { return open() == options_.connections; }
    double count() const { return options_.connections; }

    const ClusterOptions& options_;
    std::uint64_t begin_ns_;
    ClusterNodes nodes_;
    ClusterBoard* board_;
    std::vector<pid_t> clients_;
    double base_pss_ = 0, base_slab_ = 0, base_available_ = 0;
    double rest_share_ = 0, rest_redis_share_ = 0;       // Of a core, by nodes and by Redis.
    std::string out_, failure_;
    std::uint64_t wrong_ = 0;                // Of all that must be 0.
};

}  // namespace starling::bench

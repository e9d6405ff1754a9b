#pragma once
// The servers of a cluster run: one Redis without persistence, or none, and the gateways.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "load/cluster_options.h"
#include "load/server_process.h"

namespace starling::bench {

class ClusterNodes {
 public:
    explicit ClusterNodes(const ClusterOptions& options);
    ~ClusterNodes();
    ClusterNodes(const ClusterNodes&) = delete;

    struct Node {
        pid_t process = -1;
        std::uint16_t port = 0;
    };
    // One more gateway, ready to serve; false: `failure()` says why not.
    bool start_node();
    void kill_node(std::size_t index);       // SIGKILL; it stays in the list with process -1.
    const std::vector<Node>& nodes() const { return nodes_; }
    pid_t redis() const { return redis_ ? redis_->process() : -1; }
    const std::string& failure() const { return failure_; }

    double cpu() const;                      // Of all gateways, in seconds; a dead one's is forgotten.
    std::uint64_t pss() const;
    double redis_cpu() const { return redis_ ? redis_->cpu() : 0; }
    // A number of INFO; 0 without Redis.
    std::uint64_t redis_info(std::string_view name) const { return redis_ ? redis_->info(name) : 0; }
    // By POST to the first node; the status, 0 where there is no answer.
    int post(std::string_view path, std::string_view body) const;

 private:
    void write_config();

    const ClusterOptions& options_;
    std::string folder_, failure_;
    std::optional<RedisServer> redis_;
    std::vector<Node> nodes_;
    std::vector<int> pipes_;
};

}  // namespace starling::bench

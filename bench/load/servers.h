#pragma once
// What one run measures: a target alone, or several nodes of it over one Redis of the run's own.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "load/options.h"
#include "load/server_process.h"
#include "load/target.h"

namespace starling::bench {

class Servers {
 public:
    Servers(const std::string& name, const Options& options);
    const std::vector<std::uint16_t>& ports() const { return ports_; }
    const std::string& failure() const { return failure_; }
    bool absent() const { return absent_; }

    double cpu() const;                      // Of all nodes, in seconds, without Redis.
    std::uint64_t anonymous_pss() const;
    double redis_cpu() const { return redis_ ? redis_->cpu() : 0; }

 private:
    std::optional<RedisServer> redis_;       // It outlives the nodes.
    std::vector<std::unique_ptr<Target>> nodes_;
    std::vector<std::uint16_t> ports_;
    std::string failure_;
    bool absent_ = false;
};

}  // namespace starling::bench

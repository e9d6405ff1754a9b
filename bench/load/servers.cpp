#include "load/servers.h"

#include <numeric>

#include "load/measure.h"

namespace starling::bench {

Servers::Servers(const std::string& name, const Options& options) {
    if (options.nodes > 1) {
        redis_.emplace(options.pin);         // Beside the clients: the first core is the servers' alone.
        if (!redis_->well()) {
            failure_ = "redis-server does not answer";
            return;
        }
    }
    for (std::uint32_t i = 0; i < options.nodes && failure_.empty(); ++i) {
        nodes_.push_back(std::make_unique<Target>(name, options, redis_ ? redis_->port() : 0));
        ports_.push_back(nodes_.back()->port());
        failure_ = nodes_.back()->failure();
        absent_ = nodes_.back()->absent();
        if (redis_ && failure_.empty() && !is_peer(name) && !becomes_ready(ports_.back())) { failure_ = name + " does not become ready"; }
    }
}

double Servers::cpu() const {
    return std::accumulate(nodes_.begin(), nodes_.end(), 0.0, [](double sum, const auto& node) { return sum + cpu_seconds(node->process()); });
}

std::uint64_t Servers::anonymous_pss() const {
    return std::accumulate(nodes_.begin(), nodes_.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const auto& node) { return sum + anonymous_pss_bytes(node->process()); });
}

}  // namespace starling::bench

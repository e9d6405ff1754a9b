#pragma once
// A server under measurement, as a process of its own: the raw one, a gateway, or a peer (bench/peers/).

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "load/options.h"

namespace starling::bench {

class Target {
 public:
    // Starts it and waits for its port. `failure()` says why there is none. `redis`: the port of the one it shares with
    // other nodes, 0: it is alone.
    Target(const std::string& name, const Options& options, std::uint16_t redis = 0);
    ~Target();
    Target(const Target&) = delete;
    std::uint16_t port() const { return port_; }
    pid_t process() const { return process_; }
    const std::string& failure() const { return failure_; }
    bool absent() const { return absent_; }      // A peer that is not installed; `failure()` says how.

 private:
    void wait_for_peer(const std::string& name, std::uint16_t port);
    bool absent_ = false;
    pid_t process_ = -1;
    std::uint16_t port_ = 0;
    std::string folder_;
    std::string failure_;
};

inline bool is_raw(std::string_view name) { return name == "raw" || name == "raw-writev"; }
inline bool is_peer(std::string_view name) { return name.starts_with("peer:"); }
inline std::string_view peer_name(std::string_view name) { return name.substr(5); }
// Several of it share a Redis.
inline bool has_nodes(std::string_view name) { return !is_raw(name) && (!is_peer(name) || name == "peer:socket.io" || name == "peer:naive"); }
std::uint16_t free_port();                   // Free a moment ago, for what cannot be asked which one it took.
// What a gateway prints as its public port, from its stdout; 0: nothing within 20 s.
std::uint16_t read_port(int descriptor);
void pin_to(int core);                       // This process, and what it starts; -1: the last core.

}  // namespace starling::bench

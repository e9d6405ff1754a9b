#pragma once
// The two engines behind one face. The driver gives the calls of its shard, the bytes of its links and the time;
// it performs the actions and hands the events to the shard: all that one Output holds, before it performs the
// effects of the first of them.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "domain/engine.h"
#include "engine/redis.h"

namespace starling::engine {

struct Output {
    Actions actions;                         // Only Redis asks for bytes.
    domain::EngineEvents events;
};

// Leaves that this node told, by cause (starling_presence_leaves_total).
struct LeaveCounts {
    std::uint64_t clean = 0, timeout = 0, node_down = 0, kicked = 0, drain = 0;
};

class Engine {
 public:
    virtual ~Engine() = default;
    virtual void start(Now now, Output& out) = 0;
    virtual void on_call(domain::EngineCall& call, Now now, Output& out) = 0;
    virtual void on_connected(LinkId, Now, Output&) {}
    virtual void on_bytes(LinkId, std::string_view, Now, Output&) {}
    virtual void on_closed(LinkId, std::string_view, Now, Output&) {}
    virtual std::optional<Instant> next_deadline() const = 0;
    virtual void on_deadline(Now now, Output& out) = 0;
    // After Retire: nothing lingers and no lease is left, so the process may end.
    virtual bool idle() const = 0;
    // A reload changed presence.linger_ms.
    virtual void on_linger(Duration) {}
    // A reload may have added apps, at the end: their ids, by index.
    virtual void on_apps(std::vector<std::string>) {}
    virtual LeaveCounts leaves() const { return {}; }
    // Whether new connections should come here: false from half a lease without Redis on (cluster.md R13).
    virtual bool ready(Now) const { return true; }
    // How long the engine has been out of reach; 0 while it answers.
    virtual Duration away(Now) const { return 0s; }
    // Why this process must not go on: other constants than the cluster's, a Redis that evicts.
    virtual std::optional<std::string> fatal() const { return std::nullopt; }
    // About the server, for the log; each is given once.
    virtual std::vector<std::string> take_findings() { return {}; }
    virtual std::uint64_t ingress_dropped() const { return 0; }
};

}  // namespace starling::engine

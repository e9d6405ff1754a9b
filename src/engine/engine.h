#pragma once
// The two engines behind one face. The driver gives the calls of its shard, the bytes of its links and the time;
// it performs the actions and hands the events to the shard.

#include <optional>
#include <string_view>

#include "domain/engine.h"
#include "engine/redis.h"

namespace starling::engine {

struct Output {
    Actions actions;                         // Only Redis asks for bytes.
    domain::EngineEvents events;
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
};

}  // namespace starling::engine

#pragma once
// Gives an engine its sockets: performs the actions it asks for on the loop's transport, and tells it what became
// of them. The loop owns both, asks the driver for each event whether it is its own, and takes the engine's events.

#include <map>
#include <memory>
#include <unordered_map>

#include "engine/engine.h"
#include "net/transport.h"

namespace starling::server {

class RedisDriver {
 public:
    // `tls`: a client's context, for links that want it.
    RedisDriver(net::Transport& transport, engine::Engine& engine, std::shared_ptr<net::TlsContext> tls);

    bool owns(net::ConnectionId connection) const;
    // False: not a connection of this driver. Otherwise `events` has grown by what the engine had to say.
    bool on_event(const net::Event& event, Now now, domain::EngineEvents& events);
    // Performs what a call to the engine has asked for.
    void perform(engine::Output& output);

 private:
    void perform_one(engine::Action& action);
    void end(net::ConnectionId id, std::string_view reason, Now now, engine::Output& output);

    net::Transport& transport_;
    engine::Engine& engine_;
    std::shared_ptr<net::TlsContext> tls_;
    std::unordered_map<engine::LinkId, net::ConnectionId> connections_;
    std::unordered_map<std::uint64_t, engine::LinkId> links_;       // By slot and generation.
};

}  // namespace starling::server

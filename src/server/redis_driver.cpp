#include "server/redis_driver.h"

#include <utility>
#include <variant>

namespace starling::server {

namespace {

std::uint64_t key_of(net::ConnectionId id) { return (std::uint64_t{id.generation} << 32) | id.slot; }

// A turn reads no more than this of one link, so that a flood from Redis does not starve the clients.
constexpr int kReadsInTurn = 16;

}  // namespace

RedisDriver::RedisDriver(net::Transport& transport, engine::Engine& engine, std::shared_ptr<net::TlsContext> tls)
    : transport_(transport), engine_(engine), tls_(std::move(tls)) {}

bool RedisDriver::owns(net::ConnectionId connection) const { return links_.contains(key_of(connection)); }

void RedisDriver::perform(engine::Output& output) {
    for (engine::Action& action : std::exchange(output.actions, {})) { perform_one(action); }
}

void RedisDriver::perform_one(engine::Action& action) {
    if (const auto* connect = std::get_if<engine::Connect>(&action)) {
        const net::ConnectionId id = transport_.connect(connect->host, connect->port, connect->tls ? tls_ : nullptr);
        connections_[connect->link] = id;
        links_[key_of(id)] = connect->link;
    } else if (const auto* write = std::get_if<engine::Write>(&action)) {
        const auto at = connections_.find(write->link);
        if (at != connections_.end()) { transport_.send(at->second, SharedBytes(ByteView(write->bytes))); }
    } else {
        const auto at = connections_.find(std::get<engine::Disconnect>(action).link);
        if (at == connections_.end()) { return; }
        transport_.abandon(at->second);
        links_.erase(key_of(at->second));
        connections_.erase(at);
    }
}

void RedisDriver::end(net::ConnectionId id, std::string_view reason, Now now, engine::Output& output) {
    const auto at = links_.find(key_of(id));
    const engine::LinkId link = at->second;
    links_.erase(at);
    connections_.erase(link);
    engine_.on_closed(link, reason, now, output);
}

bool RedisDriver::on_event(const net::Event& event, Now now, domain::EngineEvents& events) {
    const auto at = links_.find(key_of(event.connection));
    if (at == links_.end()) { return false; }
    const engine::LinkId link = at->second;
    engine::Output output;
    if (event.kind == net::Event::Kind::connected) {
        engine_.on_connected(link, now, output);
    } else if (event.kind == net::Event::Kind::closed) {
        end(event.connection, transport_.why_closed(event.connection), now, output);
    } else {
        for (int i = 0; i < kReadsInTurn; ++i) {
            const std::span<char> bytes = transport_.read(event.connection);
            if (bytes.empty()) { break; }
            engine_.on_bytes(link, {bytes.data(), bytes.size()}, now, output);
        }
    }
    perform(output);
    for (auto& one : output.events) { events.push_back(std::move(one)); }
    return true;
}

}  // namespace starling::server

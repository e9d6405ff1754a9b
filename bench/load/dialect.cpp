#include "load/dialect.h"

#include <fmt/format.h>

#include "load/target.h"
#include "load/wire.h"

namespace starling::bench {

namespace {

class Raw : public Dialect {
 public:
    std::string upgrade(std::uint32_t room) const override { return upgrade_request(fmt::format("/r/{}", room)); }
    std::string hello(std::uint32_t, std::uint32_t) const override { return masked_frame("{}"); }
    Heard hear(std::string_view, std::uint32_t) const override { return {.confirmed = 1}; }
    std::vector<Step> publisher_steps(std::uint32_t) const override { return {{upgrade_request("/p/0"), "101 "}}; }
    std::string publish(std::uint32_t, std::string_view data) const override { return masked_frame(data); }
};

class Gateway : public Dialect {
 public:
    explicit Gateway(const Options& options) : options_(options) {}
    std::string upgrade(std::uint32_t) const override { return upgrade_request("/v1/ws"); }
    std::string hello(std::uint32_t user, std::uint32_t room) const override {
        std::string out = masked_frame(connect_frame(options_.same_user ? 0 : user));
        for (std::uint32_t i = 0; i < options_.channels; ++i) {
            out += masked_frame(subscribe_frame(room + i * options_.rooms, options_.presence));
        }
        return out;
    }
    std::uint32_t subscriptions() const override { return options_.channels; }
    Heard hear(std::string_view payload, std::uint32_t) const override {
        if (payload.starts_with(R"({"type":"subscribed")")) { return {.confirmed = 1}; }
        return {.refused = payload.starts_with(R"({"type":"error")")};
    }
    std::vector<Step> publisher_steps(std::uint32_t user) const override {
        return {{upgrade("/v1/ws"), "101 "}, {masked_frame(connect_frame(user)), "\"connected\""}};
    }
    std::string publish(std::uint32_t room, std::string_view data) const override {
        return masked_frame(publish_frame(room, data));
    }

 private:
    static std::string upgrade(std::string_view path) { return upgrade_request(path); }
    const Options& options_;
};

// bench/peers/ws and bench/peers/naive: a little JSON of our own.
class Plain : public Dialect {
 public:
    std::string upgrade(std::uint32_t) const override { return upgrade_request("/"); }
    std::string hello(std::uint32_t, std::uint32_t room) const override {
        return masked_frame(fmt::format(R"({{"type":"join","room":"room-{}"}})", room));
    }
    Heard hear(std::string_view payload, std::uint32_t) const override {
        return {.confirmed = payload == R"({"type":"joined"})" ? 1U : 0U};
    }
    std::vector<Step> publisher_steps(std::uint32_t) const override { return {{upgrade(0), "101 "}}; }
    std::string publish(std::uint32_t room, std::string_view data) const override {
        return masked_frame(fmt::format(R"({{"type":"publish","room":"room-{}","data":{}}})", room, data));
    }
};

// Engine.IO 4 and the Socket.IO protocol above it: 0 opens, 40 connects, 42 is an event, 43 its answer, 2 a ping.
class SocketIo : public Dialect {
 public:
    std::string upgrade(std::uint32_t) const override { return upgrade_request("/socket.io/?EIO=4&transport=websocket"); }
    std::string hello(std::uint32_t, std::uint32_t) const override { return {}; }
    Heard hear(std::string_view payload, std::uint32_t room) const override {
        if (payload.starts_with("0{")) { return {.answer = masked_frame("40")}; }
        if (payload.starts_with("40{")) { return {.answer = masked_frame(fmt::format(R"(420["join","room-{}"])", room))}; }
        if (payload == "2") { return {.answer = masked_frame("3")}; }
        return {.confirmed = payload.starts_with("430") ? 1U : 0U, .refused = payload.starts_with("44")};
    }
    std::vector<Step> publisher_steps(std::uint32_t) const override {
        return {{upgrade(0), "101 "}, {"", "0{"}, {masked_frame("40"), "40{"}};
    }
    std::string publish(std::uint32_t room, std::string_view data) const override {
        return masked_frame(fmt::format(R"(42["publish","room-{}",{}])", room, data));
    }
};

// The upgrade is the subscription; publishing is a POST on a connection that stays.
class Nchan : public Dialect {
 public:
    std::string upgrade(std::uint32_t room) const override { return upgrade_request(fmt::format("/sub/room-{}", room)); }
    std::string hello(std::uint32_t, std::uint32_t) const override { return {}; }
    std::uint32_t subscriptions() const override { return 0; }
    Heard hear(std::string_view, std::uint32_t) const override { return {}; }
    std::vector<Step> publisher_steps(std::uint32_t) const override { return {}; }
    std::string publish(std::uint32_t room, std::string_view data) const override {
        return fmt::format("POST /pub/room-{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           "Content-Length: {}\r\n\r\n{}", room, data.size(), data);
    }
};

// The text protocol of NATS, in binary frames. PONG comes after the SUB before it was done.
class Nats : public Dialect {
 public:
    std::string upgrade(std::uint32_t) const override { return upgrade_request("/"); }
    std::string hello(std::uint32_t, std::uint32_t room) const override {
        return binary(fmt::format("{}SUB room-{} 1\r\nPING\r\n", kConnect, room));
    }
    Heard hear(std::string_view payload, std::uint32_t) const override {
        if (payload.find("PING\r\n") != std::string_view::npos) { return {.answer = binary("PONG\r\n")}; }
        return {.confirmed = payload.find("PONG\r\n") != std::string_view::npos ? 1U : 0U, .refused = payload.starts_with("-ERR")};
    }
    bool many_in_a_frame() const override { return true; }
    std::vector<Step> publisher_steps(std::uint32_t) const override {
        return {{upgrade(0), "101 "}, {binary(fmt::format("{}PING\r\n", kConnect)), "PONG"}};
    }
    std::string publish(std::uint32_t room, std::string_view data) const override {
        return binary(fmt::format("PUB room-{} {}\r\n{}\r\n", room, data.size(), data));
    }

 private:
    static constexpr std::string_view kConnect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\n";
    static std::string binary(std::string_view bytes) {
        std::string out = masked_frame(bytes);
        out[0] = static_cast<char>(0x82);
        return out;
    }
};

// The JSON protocol of centrifuge: commands and replies by lines, {} is a ping and its answer.
class Centrifuge : public Dialect {
 public:
    std::string upgrade(std::uint32_t) const override { return upgrade_request("/connection/websocket"); }
    std::string hello(std::uint32_t, std::uint32_t room) const override {
        return masked_frame(fmt::format("{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"room-{}\"}}}}", room));
    }
    Heard hear(std::string_view payload, std::uint32_t) const override {
        if (payload == "{}") { return {.answer = masked_frame("{}")}; }
        return {.confirmed = payload.find(R"("subscribe")") != std::string_view::npos ? 1U : 0U,
                .refused = payload.find(R"("error")") != std::string_view::npos};
    }
    bool many_in_a_frame() const override { return true; }
    std::vector<Step> publisher_steps(std::uint32_t) const override {
        return {{upgrade(0), "101 "}, {masked_frame(R"({"id":1,"connect":{}})"), "\"connect\""}};
    }
    std::string publish(std::uint32_t room, std::string_view data) const override {
        return masked_frame(fmt::format(R"({{"id":2,"publish":{{"channel":"room-{}","data":{}}}}})", room, data));
    }
};

}  // namespace

std::unique_ptr<Dialect> dialect_of(std::string_view target, const Options& options) {
    if (is_raw(target)) { return std::make_unique<Raw>(); }
    if (!is_peer(target)) { return std::make_unique<Gateway>(options); }
    const std::string_view name = peer_name(target);
    if (name == "ws" || name == "naive") { return std::make_unique<Plain>(); }
    if (name == "socket.io") { return std::make_unique<SocketIo>(); }
    if (name == "nchan") { return std::make_unique<Nchan>(); }
    if (name == "nats") { return std::make_unique<Nats>(); }
    if (name == "centrifuge") { return std::make_unique<Centrifuge>(); }
    return nullptr;
}

}  // namespace starling::bench

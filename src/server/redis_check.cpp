#include "server/redis_check.h"

#include <chrono>

#include "server/redis_driver.h"

namespace starling::server {

namespace {

constexpr std::uint32_t kPartitions = 16;    // Spread over the slots, so that every primary of a cluster is asked.

Now read_clock() { return {Instant(std::chrono::steady_clock::now().time_since_epoch()), 0}; }

// The way to Redis without a protocol above it.
class Visitor : public engine::Engine {
 public:
    explicit Visitor(engine::RedisSettings settings)
        : redis_(std::move(settings), engine::make_tags(kPartitions), all(), "st:probe:doctor", 1) {}
    void start(Now now, engine::Output& out) override { redis_.start(now, out.actions); }
    void on_call(domain::EngineCall&, Now, engine::Output&) override {}
    void on_connected(engine::LinkId link, Now now, engine::Output& out) override { redis_.on_connected(link, now, out.actions); }
    void on_bytes(engine::LinkId link, std::string_view bytes, Now now, engine::Output& out) override {
        redis_.on_bytes(link, bytes, now, out.actions);
    }
    void on_closed(engine::LinkId link, std::string_view reason, Now now, engine::Output& out) override {
        redis_.on_closed(link, reason, now, out.actions);
    }
    std::optional<Instant> next_deadline() const override { return redis_.next_deadline(); }
    void on_deadline(Now now, engine::Output& out) override { redis_.on_deadline(now, out.actions); }
    bool idle() const override { return true; }

    void look(RedisCheck& check) {
        for (engine::RedisEvent& event : redis_.take_events()) {
            if (auto* finding = std::get_if<engine::Finding>(&event)) { check.findings.push_back(std::move(*finding)); }
            if (std::holds_alternative<engine::PartitionUp>(event)) { ++up_; }
            if (std::holds_alternative<engine::PartitionDown>(event)) { --up_; }
        }
        check.reached = up_ == kPartitions;
    }

 private:
    static std::vector<std::uint32_t> all() {
        std::vector<std::uint32_t> list(kPartitions);
        for (std::uint32_t i = 0; i < kPartitions; ++i) { list[i] = i; }
        return list;
    }
    engine::Redis redis_;
    std::uint32_t up_ = 0;
};

}  // namespace

RedisCheck check_redis(engine::RedisSettings settings, std::shared_ptr<net::TlsContext> tls, Duration within) {
    net::Transport transport;
    Visitor visitor(std::move(settings));
    RedisDriver driver(transport, visitor, std::move(tls));
    RedisCheck check;
    engine::Output output;
    const Instant began = read_clock().instant;
    visitor.start(read_clock(), output);
    for (Now now = read_clock(); !check.reached && now.instant - began < within; now = read_clock()) {
        driver.perform(output);
        transport.flush();
        std::vector<net::Event> events;
        transport.wait(50ms, events);
        for (const net::Event& event : events) { driver.on_event(event, now, output.events); }
        visitor.on_deadline(now, output);
        visitor.look(check);
        check.time = read_clock().instant - began;
    }
    return check;
}

}  // namespace starling::server

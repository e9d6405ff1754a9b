#pragma once
// The engine of a node among many: one Partition machine for each partition whose home is this shard, over one way to
// Redis. Here only names are translated and things are handed on; the protocol lives in Partition.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/partition.h"

namespace starling::engine {

class Cluster : public Engine {
 public:
    Cluster(ClusterSettings settings, RedisSettings redis, std::uint64_t seed);
    ~Cluster() override;

    void start(Now now, Output& out) override;
    void on_call(domain::EngineCall& call, Now now, Output& out) override;
    void on_connected(LinkId link, Now now, Output& out) override;
    void on_bytes(LinkId link, std::string_view bytes, Now now, Output& out) override;
    void on_closed(LinkId link, std::string_view reason, Now now, Output& out) override;
    std::optional<Instant> next_deadline() const override;
    void on_deadline(Now now, Output& out) override;
    bool idle() const override;

    LeaveCounts leaves() const override;
    bool ready(Now now) const override;
    Duration away(Now now) const override;
    std::optional<std::string> fatal() const override { return fatal_; }
    std::vector<std::string> take_findings() override { return std::exchange(findings_, {}); }
    std::uint64_t ingress_dropped() const override { return ingress_dropped_; }
    std::size_t pending_bytes() const { return redis_.pending_bytes(); }
    void on_linger(Duration linger) override { settings_.linger = linger; }
    void on_apps(std::vector<std::string> apps) override { settings_.apps = std::move(apps); }

 private:
    std::string wire_name(const domain::ChannelRef& channel) const;
    Partition* home(const domain::ChannelRef& channel, Now now, Output& out);
    void on_pushed(Pushed& pushed, Now now, Output& out);
    void on_control(std::string_view payload, Output& out);
    void on_ingress(std::string_view channel, std::string_view payload, Output& out);
    // Redis' events to the partitions, until there is none.
    void settle(Now now, Output& out);

    ClusterSettings settings_;
    std::vector<std::string> tags_;
    std::string tagged_;                     // What keys begin with, up to the tag.
    std::string control_all_, control_mine_;
    Redis redis_;
    std::map<std::uint32_t, std::unique_ptr<Partition>> partitions_;
    std::map<std::string, std::uint32_t, std::less<>> partition_of_tag_;
    std::optional<std::string> fatal_;
    std::vector<std::string> findings_;
    std::uint64_t ingress_dropped_ = 0;
};

}  // namespace starling::engine

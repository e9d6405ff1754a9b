#include "engine/cluster.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"
#include "codec/json.h"

namespace starling::engine {

namespace {

constexpr std::string_view kIngressChannel = "ws:pubsub:";
constexpr std::string_view kIngressDirect = "ws:direct:";
constexpr std::uint32_t kIngressDepthMax = 128;

std::vector<std::uint32_t> partitions_of(const ClusterSettings& settings) {
    std::vector<std::uint32_t> out;
    for (std::uint32_t p = settings.shard; p < settings.partitions; p += settings.shards) { out.push_back(p); }
    return out;
}

}  // namespace

Cluster::Cluster(ClusterSettings settings, RedisSettings redis, std::uint64_t seed)
    : settings_(std::move(settings)), tags_(make_tags(settings_.partitions)), tagged_(settings_.prefix + ":{"),
      control_all_(settings_.prefix + ":{" + tags_[0] + "}:nodes"),
      control_mine_(settings_.prefix + ":{" + tags_[0] + "}:node:" + settings_.node_id),
      redis_(std::move(redis), tags_, partitions_of(settings_),
             settings_.prefix + ":probe:" + settings_.node_id + "." + std::to_string(settings_.shard), seed) {
    Rng rng(seed + 1);
    for (const std::uint32_t p : partitions_of(settings_)) {
        partitions_.emplace(p, std::make_unique<Partition>(settings_, redis_, p, tags_[p], rng.next()));
    }
    for (std::uint32_t p = 0; p < settings_.partitions; ++p) { partition_of_tag_.emplace(tags_[p], p); }
}

Cluster::~Cluster() = default;

// "<app>/<channel>"; a slash in an app's id would let two apps meet.
std::string Cluster::wire_name(const domain::ChannelRef& channel) const {
    std::string name;
    for (const char c : settings_.apps[channel.app]) {
        if (c == '/' || c == '%') {
            name += c == '/' ? "%2F" : "%25";
        } else {
            name += c;
        }
    }
    return name + '/' + channel.name;
}

Partition* Cluster::home(const domain::ChannelRef& channel, Now now, Output& out) {
    const auto it = partitions_.find(domain::partition_of(channel, settings_.partitions));
    CHECK(it != partitions_.end());
    it->second->begin(now, out);
    return it->second.get();
}

void Cluster::start(Now now, Output& out) {
    redis_.start(now, out.actions);
    for (auto& [p, partition] : partitions_) {
        partition->begin(now, out);
        partition->start();
    }
    if (partitions_.contains(0)) {
        redis_.subscribe(0, SharedBytes(control_all_), now, out.actions);
        redis_.subscribe(0, SharedBytes(control_mine_), now, out.actions);
        if (settings_.ingress) {
            redis_.subscribe_pattern(std::string(kIngressChannel) + "*", now, out.actions);
            redis_.subscribe_pattern(std::string(kIngressDirect) + "*", now, out.actions);
        }
    }
    settle(now, out);
}

void Cluster::on_call(domain::EngineCall& call, Now now, Output& out) {
    std::visit(
        [&](auto& body) {
            using Call = std::decay_t<decltype(body)>;
            if constexpr (requires { body.channel; }) {
                home(body.channel, now, out)->on(body, wire_name(body.channel));
            } else if constexpr (std::is_same_v<Call, domain::Tell>) {
                std::string payload;
                append_field(payload, settings_.node_id);
                payload += body.payload;
                const std::string target = body.node.empty() ? control_all_ : settings_.prefix + ":{" + tags_[0] + "}:node:" + body.node;
                redis_.publish(0, target, std::move(payload), now, out.actions);
            } else if constexpr (std::is_same_v<Call, domain::Proven>) {
                const auto it = partitions_.find(body.partition);
                if (it == partitions_.end()) { return; }
                it->second->begin(now, out);
                it->second->on_proven();
            } else if constexpr (std::is_same_v<Call, domain::Retire>) {
                for (auto& [p, partition] : partitions_) {
                    partition->begin(now, out);
                    partition->retire();
                }
            }
        },
        call);
    settle(now, out);
}

void Cluster::on_connected(LinkId link, Now now, Output& out) {
    redis_.on_connected(link, now, out.actions);
    settle(now, out);
}

void Cluster::on_bytes(LinkId link, std::string_view bytes, Now now, Output& out) {
    redis_.on_bytes(link, bytes, now, out.actions);
    settle(now, out);
}

void Cluster::on_closed(LinkId link, std::string_view reason, Now now, Output& out) {
    redis_.on_closed(link, reason, now, out.actions);
    settle(now, out);
}

std::optional<Instant> Cluster::next_deadline() const {
    std::optional<Instant> next = redis_.next_deadline();
    for (const auto& [p, partition] : partitions_) {
        const auto due = partition->next_deadline();
        if (due && (!next || *due < *next)) { next = due; }
    }
    return next;
}

void Cluster::on_deadline(Now now, Output& out) {
    redis_.on_deadline(now, out.actions);
    settle(now, out);
    for (auto& [p, partition] : partitions_) {
        const auto due = partition->next_deadline();
        if (!due || *due > now.instant) { continue; }
        partition->begin(now, out);
        partition->on_deadline();
    }
    settle(now, out);
}

void Cluster::settle(Now now, Output& out) {
    for (RedisEvents events = redis_.take_events(); !events.empty(); events = redis_.take_events()) {
        for (RedisEvent& event : events) {
            const auto with = [&](std::uint32_t p, auto act) {
                const auto it = partitions_.find(p);
                if (it == partitions_.end()) { return; }
                it->second->begin(now, out);
                act(*it->second);
            };
            // "<prefix>:{tag}:c:<wire>" belongs to the partition of its tag.
            const auto of_channel = [&](const std::string& key, auto act) {
                const std::size_t open = tagged_.size();
                const std::size_t close = key.find('}', open);
                if (!key.starts_with(tagged_) || close == std::string::npos || key.compare(close, 4, "}:c:") != 0) { return; }
                const auto tag = partition_of_tag_.find(std::string_view(key).substr(open, close - open));
                if (tag != partition_of_tag_.end()) {
                    with(tag->second, [&](Partition& partition) { act(partition, key.substr(close + 4)); });
                }
            };
            if (auto* answered = std::get_if<Answered>(&event)) {
                with(answered->token & 0xfff, [&](Partition& partition) { partition.on_answer(*answered); });
            } else if (auto* pushed = std::get_if<Pushed>(&event)) {
                if (pushed->channel == control_all_ || pushed->channel == control_mine_) {
                    on_control(pushed->payload, out);
                } else if (pushed->channel.starts_with("ws:")) {
                    on_ingress(pushed->channel, pushed->payload, out);
                } else {
                    of_channel(pushed->channel, [&](Partition& partition, const std::string& wire) { partition.on_pushed(wire, pushed->payload); });
                }
            } else if (auto* subscribed = std::get_if<Subscribed>(&event)) {
                of_channel(subscribed->channel, [](Partition& partition, const std::string& wire) { partition.on_subscribed(wire); });
            } else if (auto* missed = std::get_if<Missed>(&event)) {
                of_channel(missed->channel, [](Partition& partition, const std::string& wire) { partition.on_missed(wire); });
            } else if (auto* up = std::get_if<PartitionUp>(&event)) {
                with(up->partition, [&](Partition& partition) { partition.on_up(up->server); });
            } else if (auto* down = std::get_if<PartitionDown>(&event)) {
                with(down->partition, [](Partition& partition) { partition.on_down(); });
            } else if (auto* finding = std::get_if<Finding>(&event)) {
                if (finding->fatal && !fatal_) { fatal_ = finding->text; }
                findings_.push_back(std::move(finding->text));
            }
        }
    }
    if (const auto it = partitions_.find(0); it != partitions_.end() && it->second->peers_changed()) {
        out.events.push_back(domain::Peers{it->second->peers()});
    }
    for (const auto& [p, partition] : partitions_) {
        if (partition->mismatch() && !fatal_) { fatal_ = partition->mismatch(); }
    }
}

void Cluster::on_control(std::string_view payload, Output& out) {
    FieldReader in(payload);
    std::string node(in.text());
    if (!in.ok() || node == settings_.node_id) { return; }
    const std::string_view rest = in.rest();
    out.events.push_back(domain::Heard{std::move(node), std::string(rest)});
}

// protocol.md section 7 and 10: what is not JSON, too large or badly named is dropped and counted.
void Cluster::on_ingress(std::string_view channel, std::string_view payload, Output& out) {
    domain::Ingress ingress;
    const bool direct = channel.starts_with(kIngressDirect);
    const std::string_view name = channel.substr(direct ? kIngressDirect.size() : kIngressChannel.size());
    bool bad = name.empty() || payload.size() > settings_.data_bytes || !codec::json::valid_utf8(payload) ||
               !codec::json::parse(payload, kIngressDepthMax);
    if (!direct) {
        const bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
        bad = bad || name.size() > settings_.channel_bytes || name.front() == '@' || name.front() == '$' || control || !codec::json::valid_utf8(name);
    }
    const auto app = std::find(settings_.apps.begin(), settings_.apps.end(), settings_.default_app);
    if (bad || app == settings_.apps.end()) {
        ++ingress_dropped_;
        return;
    }
    if (direct) {
        ingress.connection_id = name;
    } else {
        ingress.channel = {static_cast<std::uint32_t>(app - settings_.apps.begin()), std::string(name)};
    }
    ingress.data = payload;
    out.events.push_back(std::move(ingress));
}

bool Cluster::idle() const {
    return std::all_of(partitions_.begin(), partitions_.end(), [](const auto& entry) { return entry.second->ended(); });
}

bool Cluster::ready(Now now) const {
    return std::all_of(partitions_.begin(), partitions_.end(), [now](const auto& entry) { return entry.second->ready(now.instant); });
}

Duration Cluster::away(Now now) const {
    Duration longest = 0s;
    for (const auto& [p, partition] : partitions_) { longest = std::max(longest, partition->away(now.instant)); }
    return longest;
}

LeaveCounts Cluster::leaves() const {
    LeaveCounts sum;
    for (const auto& [p, partition] : partitions_) {
        sum.clean += partition->leaves().clean;
        sum.timeout += partition->leaves().timeout;
        sum.node_down += partition->leaves().node_down;
    }
    return sum;
}

}  // namespace starling::engine

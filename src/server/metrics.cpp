// The Prometheus text exposition, gathered from all loops (protocol.md section 10, Metrics).

#include <cstdio>

#include "base/log.h"
#include "server/peer.h"

namespace starling::server {

namespace {

class Exposition {
 public:
    void head(const char* name, const char* type, const char* help) {
        out_ += std::string("# HELP ") + name + ' ' + help + "\n# TYPE " + name + ' ' + type + '\n';
    }
    void sample(const std::string& name, double value) {
        char text[64];
        std::snprintf(text, sizeof text, " %.17g\n", value);
        out_ += name + text;
    }
    void one(const char* name, const char* type, const char* help, double value) {
        head(name, type, help);
        sample(name, value);
    }
    void histogram(const std::string& name, const char* help, const domain::LatencyHistogram& histogram) {
        head(name.c_str(), "histogram", help);
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < std::size(histogram.counts); ++i) {
            total += histogram.counts[i];
            char bound[32] = "+Inf";
            if (i < std::size(histogram.kBounds)) { std::snprintf(bound, sizeof bound, "%g", histogram.kBounds[i]); }
            sample(name + "_bucket{le=\"" + bound + "\"}", static_cast<double>(total));
        }
        sample(name + "_sum", histogram.sum);
        sample(name + "_count", static_cast<double>(total));
    }
    std::string take() { return std::move(out_); }

 private:
    std::string out_;
};

}  // namespace

std::string ShardLoop::metrics_text(const std::vector<LoopStats>& all) const {
    LoopStats sum;
    for (const LoopStats& part : all) {
        sum.domain.connections += part.domain.connections;
        sum.domain.channels += part.domain.channels;
        sum.domain.presence_members += part.domain.presence_members;
        sum.domain.received += part.domain.received;
        sum.domain.sent += part.domain.sent;
        sum.domain.recoveries_true += part.domain.recoveries_true;
        sum.domain.recoveries_false += part.domain.recoveries_false;
        sum.domain.unreachable_partitions += part.domain.unreachable_partitions;
        sum.leaves.clean += part.leaves.clean;
        sum.leaves.timeout += part.leaves.timeout;
        sum.leaves.node_down += part.leaves.node_down;
        sum.leaves.kicked += part.leaves.kicked;
        sum.leaves.drain += part.leaves.drain;
        sum.ingress_dropped += part.ingress_dropped;
        sum.domain.publish_to_delivery.add(part.domain.publish_to_delivery);
        sum.domain.join_to_seen.add(part.domain.join_to_seen);
        sum.opened += part.opened;
        sum.slow_consumers += part.slow_consumers;
        sum.queue_bytes += part.queue_bytes;
        sum.http_requests += part.http_requests;
        for (const auto& [code, count] : part.closed) { sum.closed[code] += count; }
        for (const auto& [status, count] : part.http_errors) { sum.http_errors[status] += count; }
        sum.loop_delay_seconds = std::max(sum.loop_delay_seconds, part.loop_delay_seconds);
    }
    const auto number = [](auto value) { return static_cast<double>(value); };
    Exposition out;
    out.one("starling_connections", "gauge", "Sessions open now.", number(sum.domain.connections));
    out.one("starling_connections_opened_total", "counter", "WebSocket connections opened.", number(sum.opened));
    out.head("starling_connections_closed_total", "counter", "Connections ended by the gateway or broken, by close code.");
    for (const auto& [code, count] : sum.closed) {
        out.sample("starling_connections_closed_total{code=\"" + std::to_string(code) + "\"}", number(count));
    }
    out.one("starling_messages_received_total", "counter", "Frames received from clients.", number(sum.domain.received));
    out.one("starling_messages_sent_total", "counter", "Frames fanned out to clients.", number(sum.domain.sent));
    out.one("starling_channels", "gauge", "Channels with a home on this node.", number(sum.domain.channels));
    out.one("starling_presence_members", "gauge", "Users present, summed over channels.", number(sum.domain.presence_members));
    out.head("starling_recoveries_total", "counter", "Recoveries asked for, by result.");
    out.sample("starling_recoveries_total{result=\"recovered\"}", number(sum.domain.recoveries_true));
    out.sample("starling_recoveries_total{result=\"lost\"}", number(sum.domain.recoveries_false));
    out.one("starling_slow_consumers_total", "counter", "Connections closed because their queue was full.", number(sum.slow_consumers));
    out.one("starling_queue_bytes", "gauge", "Bytes that wait to be sent.", number(sum.queue_bytes));
    out.one("starling_http_requests_total", "counter", "HTTP requests.", number(sum.http_requests));
    out.head("starling_http_errors_total", "counter", "HTTP answers of 400 and above, by status.");
    for (const auto& [status, count] : sum.http_errors) {
        out.sample("starling_http_errors_total{status=\"" + std::to_string(status) + "\"}", number(count));
    }
    out.head("starling_presence_leaves_total", "counter", "Users that left a channel, by cause.");
    const std::pair<const char*, std::uint64_t> causes[] = {{"clean", sum.leaves.clean},
                                                            {"timeout", sum.leaves.timeout},
                                                            {"node_down", sum.leaves.node_down},
                                                            {"kicked", sum.leaves.kicked},
                                                            {"drain", sum.leaves.drain}};
    for (const auto& [cause, count] : causes) {
        out.sample(std::string("starling_presence_leaves_total{cause=\"") + cause + "\"}", number(count));
    }
    out.histogram("starling_publish_to_delivery_seconds", "From a publisher's frame to its fan-out, once a listening shard.",
                  sum.domain.publish_to_delivery);
    out.histogram("starling_join_to_seen_seconds", "From the oldest presence change in a window to its fan-out, once a listening shard.",
                  sum.domain.join_to_seen);
    out.one("starling_ingress_dropped_total", "counter", "Messages by Redis PUBLISH that were dropped: no JSON, too large, a bad name.", number(sum.ingress_dropped));
    out.one("starling_engine_up", "gauge", "1 while the engine is reachable; the embedded one always is.",
            sum.domain.unreachable_partitions == 0 ? 1 : 0);
    out.one("starling_loop_delay_seconds", "gauge", "The longest turn of any loop since the last scrape.", sum.loop_delay_seconds);
    out.head("starling_reloads_total", "counter", "Configurations read again, by result.");
    out.sample("starling_reloads_total{result=\"taken\"}", number(shared_.reloads.load(std::memory_order_relaxed)));
    out.sample("starling_reloads_total{result=\"refused\"}", number(shared_.reloads_refused.load(std::memory_order_relaxed)));
    out.one("starling_log_lines_dropped_total", "counter", "Lines that stderr did not take in time.", number(log::dropped()));
    out.head("starling_build_info", "gauge", "The version of this binary.");
    out.sample("starling_build_info{version=\"" STARLING_VERSION "\"}", 1);
    return out.take();
}

}  // namespace starling::server

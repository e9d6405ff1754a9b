#include "load/cluster_options.h"

#include <charconv>
#include <map>
#include <string_view>

#include "load/cluster_board.h"

namespace starling::bench {

namespace {

constexpr std::string_view kClusterUsage =
    "usage: starling_bench cluster [--name value]... [-- flags of the gateways]\n"
    "  --target PATH      the gateway\n"
    "  --connections --nodes --processes --in-flight --samples --history --all-messages --ping-interval --limit\n"
    "  --rate --seconds --rest --storm --kill    numbers\n"
    "  --apart --no-presence --all-channel       switches";

template <typename Number>
bool read_number(std::string_view text, Number& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::expected<ClusterOptions, std::string> parse_cluster_options(int count, char** words) {
    ClusterOptions options;
    const std::map<std::string_view, std::uint32_t*> counts{
        {"--connections", &options.connections}, {"--nodes", &options.nodes}, {"--processes", &options.processes},
        {"--in-flight", &options.in_flight}, {"--samples", &options.samples}, {"--history", &options.history},
        {"--all-messages", &options.all_messages}, {"--ping-interval", &options.ping_interval}, {"--limit", &options.limit_s}};
    const std::map<std::string_view, double*> amounts{{"--rate", &options.rate}, {"--seconds", &options.seconds},
        {"--rest", &options.rest_seconds}, {"--storm", &options.storm_seconds}, {"--kill", &options.kill_backoff}};
    const std::map<std::string_view, std::pair<bool*, bool>> switches{{"--apart", {&options.apart, true}},
        {"--no-presence", {&options.presence, false}}, {"--all-channel", {&options.all_channel, true}}};
    for (int at = 2; at < count;) {
        const std::string_view word = words[at++];
        if (word == "--") {
            options.flags.assign(words + at, words + count);
            break;
        }
        if (const auto found = switches.find(word); found != switches.end()) {
            *found->second.first = found->second.second;
            continue;
        }
        const auto whole = counts.find(word);
        const auto amount = amounts.find(word);
        if (word != "--target" && whole == counts.end() && amount == amounts.end()) {
            return std::unexpected(std::string(word) + " is not known\n" + std::string(kClusterUsage));
        }
        if (at == count) { return std::unexpected(std::string(word) + " wants a value"); }
        const std::string_view value = words[at++];
        const bool well = word == "--target" ? !value.empty()
                          : whole != counts.end() ? read_number(value, *whole->second)
                                                  : read_number(value, *amount->second) && *amount->second >= 0;
        if (word == "--target") { options.binary = value; }
        if (!well) { return std::unexpected(std::string(word) + " wants a number"); }
    }
    if (options.apart) {
        options.processes = options.nodes;
        options.history = 0;
        options.storm_seconds = options.kill_backoff = 0;
    }
    if (options.nodes == 0 || options.processes == 0 || options.processes > ClusterBoard::kProcesses) {
        return std::unexpected("--nodes and --processes are at least 1, and at most " + std::to_string(ClusterBoard::kProcesses));
    }
    if (options.nodes == 1) { options.kill_backoff = 0; }      // There is nobody to go to.
    options.connections = (options.connections + kRoomSize - 1) / kRoomSize * kRoomSize;
    return options;
}

}  // namespace starling::bench

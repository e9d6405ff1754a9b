#include "load/options.h"

#include <charconv>
#include <functional>
#include <map>
#include <string_view>

namespace starling::bench {

namespace {

constexpr std::string_view kUsage =
    "usage: starling_bench MODE [--target raw|raw-writev|peer:NAME|PATH]... [--name value]... [-- flags of the gateway]\n"
    "modes: idle, fanout, rooms, churn; cluster has options of its own\n"
    "  --runs --connections --rooms --publishers --messages --burst --rate --padding --cycles --in-flight\n"
    "  --processes --channels --shards --nodes    numbers\n"
    "  --peers FOLDER                     where the peers are (bench/peers)\n"
    "  --presence --same-user --no-pin    switches";

}  // namespace

std::expected<Options, std::string> parse_options(int count, char** words) {
    Options options;
    if (count < 2) { return std::unexpected(std::string(kUsage)); }
    const std::map<std::string_view, Mode> modes{
        {"idle", Mode::idle}, {"fanout", Mode::fanout}, {"rooms", Mode::rooms}, {"churn", Mode::churn}};
    const std::map<std::string_view, std::uint32_t*> numbers{
        {"--runs", &options.runs}, {"--connections", &options.connections}, {"--rooms", &options.rooms},
        {"--publishers", &options.publishers}, {"--messages", &options.messages}, {"--burst", &options.burst},
        {"--padding", &options.padding}, {"--cycles", &options.cycles}, {"--in-flight", &options.in_flight},
        {"--processes", &options.processes}, {"--channels", &options.channels}, {"--shards", &options.shards},
        {"--nodes", &options.nodes}};
    const std::map<std::string_view, std::function<void()>> switches{
        {"--presence", [&] { options.presence = true; }}, {"--same-user", [&] { options.same_user = true; }},
        {"--no-pin", [&] { options.pin = false; }}, {"--writev", [&] { options.serve_writev = true; }}};
    int at = 2;
    if (std::string_view(words[1]) == "--serve-raw") {
        options.serve_raw = true;
    } else if (const auto mode = modes.find(words[1]); mode != modes.end()) {
        options.mode = mode->second;
    } else {
        return std::unexpected(std::string(kUsage));
    }
    while (at < count) {
        const std::string_view word = words[at++];
        if (word == "--") {
            options.flags.assign(words + at, words + count);
            break;
        }
        if (const auto found = switches.find(word); found != switches.end()) {
            found->second();
            continue;
        }
        if (at == count) { return std::unexpected(std::string(word) + " wants a value\n" + std::string(kUsage)); }
        const std::string_view value = words[at++];
        const char* end = value.data() + value.size();
        if (word == "--target") {
            options.targets.emplace_back(value);
        } else if (word == "--peers") {
            options.peers = value;
        } else if (word == "--rate") {
            if (std::from_chars(value.data(), end, options.rate).ptr != end) { return std::unexpected("--rate wants a number"); }
        } else if (const auto found = numbers.find(word); found != numbers.end()) {
            if (std::from_chars(value.data(), end, *found->second).ptr != end) {
                return std::unexpected(std::string(word) + " wants a number");
            }
        } else {
            return std::unexpected(std::string(word) + " is not known\n" + std::string(kUsage));
        }
    }
    if (options.targets.empty() && !options.serve_raw) {
        options.targets = {"build/release/starling"};
        if (options.nodes == 1) { options.targets.insert(options.targets.begin(), "raw"); }
    }
    if (options.mode == Mode::fanout) { options.rooms = options.publishers = 1; }
    if (options.rooms == 0 || options.publishers == 0 || options.processes == 0 || options.channels == 0 || options.burst == 0 ||
        options.nodes == 0) {
        return std::unexpected("--rooms, --publishers, --processes, --channels, --burst and --nodes are at least 1");
    }
    if (options.publishers > options.rooms) { return std::unexpected("at most one publisher a room, so that its order is known"); }
    return options;
}

}  // namespace starling::bench

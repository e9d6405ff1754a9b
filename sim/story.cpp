#include "story.h"

#include <utility>

namespace starling::sim {

namespace {

// Clocks run at 0.95 to 1.05 of the right speed, so a linger of 5 s is over after 4.76 to 5.27 s.
constexpr Duration kInTime = 4300ms;         // Whoever is back by then is back within it by any clock ...
constexpr Duration kOver = 5300ms;           // ... and it is over by any.

struct Author {
    Rng rng;
    std::uint32_t here, there;               // Two nodes.
    Duration begins;                         // The traveller is at home by then.
    Story story;

    Duration between(Duration low, Duration high) { return sim::between(rng, low, high); }
    void fault(FaultKind kind, Duration at, Duration lasts, std::uint32_t node = 0) {
        story.faults.push_back({.kind = kind, .at = at, .lasts = lasts, .node = node, .amount = 0});
    }

    // R7. A connection breaks, then nobody reaches Redis; the user is back on another node meanwhile, and the linger ends before
    // that one can say so.
    void back_while_the_network_is_down() {
        const Duration down = between(100ms, kOver - 1700ms);
        story.moves.push_back({.at = begins, .away = between(down + 20ms, kInTime), .node = there});
        fault(FaultKind::network_down, begins + down, between(kOver, 7s) - down);
    }

    // R8. A node sleeps for nearly a lease; in its last second the others do not reach Redis. Their connections are cut, too, for
    // a silence that is so short would go unnoticed.
    void nearly_silent_when_the_network_goes_down() {
        const Duration alone = between(6800ms, 8200ms), down = between(700ms, 1400ms);
        fault(FaultKind::node_pause, begins, alone + down + between(0ms, 100ms), here);
        fault(FaultKind::command_cut, begins + alone, 0s);
        fault(FaultKind::network_down, begins + alone, down);
    }

    // R9. A node sleeps until the others have given it up; a client of it was lost without a word as it fell asleep.
    void lost_as_the_node_fell_asleep() {
        const Duration asleep = between(11s, 14s);
        story.moves.push_back({.at = begins - between(0s, 1s), .away = asleep + between(8s, 12s), .node = there, .silent = true});
        fault(FaultKind::node_pause, begins, asleep, here);
    }

    // R10. All nodes sleep for a little more than a heartbeat, as machines of one host do; a linger ends then, and the user is back.
    void back_while_all_sleep() {
        const Duration falls = between(3900ms, kInTime - 100ms);
        story.moves.push_back({.at = begins, .away = between(falls + 10ms, kInTime), .node = there});
        fault(FaultKind::all_sleep, begins + falls, between(1100ms, 1450ms));
    }
};

}  // namespace

Story draw_story(const Options& options) {
    if (options.nodes < 2) { return {}; }
    Rng rng(options.seed * 2 + 0x570e1);
    const auto here = static_cast<std::uint32_t>(rng.below(options.nodes));
    const auto there = static_cast<std::uint32_t>((here + 1 + rng.below(options.nodes - 1)) % options.nodes);
    Author author{.rng = rng, .here = here, .there = there, .begins = {}, .story = {}};
    author.story.moves.push_back({.at = author.between(2500ms, 3500ms), .away = 0s, .node = here, .code = 1000});
    author.begins = author.between(5500ms, 7s);
    switch (author.rng.below(6)) {
        case 0: author.back_while_the_network_is_down(); break;
        case 1: author.lost_as_the_node_fell_asleep(); break;
        case 2: author.back_while_all_sleep(); break;
        default: author.nearly_silent_when_the_network_goes_down();   // Its moment is the hardest to hit.
    }
    return std::move(author.story);
}

}  // namespace starling::sim

#include "intervals.h"

#include <algorithm>

namespace starling::sim {

Intervals united(Intervals parts) {
    std::erase_if(parts, [](const Interval& part) { return part.to <= part.from; });
    std::ranges::sort(parts, {}, &Interval::from);
    Intervals out;
    for (const auto& part : parts) {
        if (!out.empty() && part.from <= out.back().to) {
            out.back().to = std::max(out.back().to, part.to);
        } else {
            out.push_back(part);
        }
    }
    return out;
}

Intervals without(Interval whole, const Intervals& holes) {
    Intervals out;
    Instant from = whole.from;
    for (const auto& hole : holes) {
        if (hole.to <= from) { continue; }
        if (hole.from >= whole.to) { break; }
        if (hole.from > from) { out.push_back({from, hole.from}); }
        from = std::max(from, hole.to);
    }
    if (from < whole.to) { out.push_back({from, whole.to}); }
    return out;
}

Duration overlap(Interval a, const Intervals& parts) {
    Duration out{};
    for (const auto& part : parts) {
        const auto from = std::max(a.from, part.from), to = std::min(a.to, part.to);
        if (from < to) { out += to - from; }
    }
    return out;
}

std::optional<Instant> earliest(const Intervals& intervals, bool inside, Instant from, Instant to) {
    Instant at = from;
    for (const auto& part : intervals) {
        if (part.to <= at) { continue; }
        if (part.from > at) {                // In a hole.
            if (!inside) { break; }
            at = part.from;
            break;
        }
        if (inside) { break; }
        at = part.to;
    }
    if (inside && std::ranges::none_of(intervals, [&](const Interval& part) { return part.from <= at && at < part.to; })) { return std::nullopt; }
    return at <= to ? std::optional(at) : std::nullopt;
}

}  // namespace starling::sim

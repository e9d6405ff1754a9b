#pragma once
// Spans of time, from the first moment to the one after the last.

#include <optional>
#include <vector>

#include "base/time.h"

namespace starling::sim {

struct Interval {
    Instant from, to;
};

// Sorted and without overlap, but for what is to be united.
using Intervals = std::vector<Interval>;

Intervals united(Intervals parts);
Intervals without(Interval whole, const Intervals& holes);
// How long the one lies in the others.
Duration overlap(Interval a, const Intervals& parts);
// The earliest moment in [from, to] that is inside (or, `inside` false, outside) of the intervals.
std::optional<Instant> earliest(const Intervals& intervals, bool inside, Instant from, Instant to);

}  // namespace starling::sim

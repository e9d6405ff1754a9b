#pragma once
// Time as values. Only the driver reads clocks; everything below it is handed a `Now`.

#include <chrono>
#include <cstdint>

namespace starling {

using namespace std::chrono_literals;

// A clock without now(): its instants come from the driver (monotonic) or from a simulated world.
struct MonotonicClock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<MonotonicClock>;
    static constexpr bool is_steady = true;
};

using Duration = std::chrono::nanoseconds;
using Instant = MonotonicClock::time_point;

// One reading of both clocks, taken once a turn. `wall_ms` is Unix milliseconds: for display and
// token expiry only, never for an ordering decision.
struct Now {
    Instant instant{};
    std::int64_t wall_ms = 0;
};

}  // namespace starling

#pragma once
// For tests: moments of a clock that a test sets. They lie an hour from zero, so that what looks back from the start
// of a test does not look before time.

#include "base/time.h"

namespace starling {

inline Instant at(Duration since_start) { return Instant{} + 1h + since_start; }

}  // namespace starling

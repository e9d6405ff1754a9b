#pragma once
// For tests: a look again and again, for what becomes true elsewhere without an event that a test could wait for: a listener
// that opens, a sample of the metrics, a counter of another thread. It is bounded, and where there is an event, wait for that.

#include <chrono>
#include <thread>

namespace starling::server {

template <typename Condition>
bool eventually(const Condition& is_true, std::chrono::milliseconds within = std::chrono::seconds(20)) {
    const auto end = std::chrono::steady_clock::now() + within;
    while (!is_true()) {
        if (std::chrono::steady_clock::now() > end) { return false; }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

}  // namespace starling::server

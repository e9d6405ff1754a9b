#pragma once
// Virtual time: what shall happen, in the order of its time and, at one time, of its making.

#include <cstdint>
#include <functional>
#include <algorithm>
#include <utility>
#include <vector>

#include "base/time.h"

namespace starling::sim {

class Schedule {
 public:
    using Action = std::move_only_function<void()>;

    Instant now() const { return now_; }
    void at(Instant time, Action action) {
        std::uint32_t place = static_cast<std::uint32_t>(actions_.size());
        if (free_.empty()) {
            actions_.push_back(std::move(action));
        } else {
            place = free_.back();
            free_.pop_back();
            actions_[place] = std::move(action);
        }
        heap_.push_back({time < now_ ? now_ : time, next_++, place});
        std::push_heap(heap_.begin(), heap_.end(), later);
    }
    void after(Duration delay, Action action) { at(now_ + delay, std::move(action)); }

    // Runs the next one that is due until then. False: none; then it is that time.
    bool run_next(Instant until) {
        if (heap_.empty() || heap_.front().time > until) {
            now_ = until;
            return false;
        }
        std::pop_heap(heap_.begin(), heap_.end(), later);
        const Entry entry = heap_.back();
        heap_.pop_back();
        now_ = entry.time;
        Action action = std::move(actions_[entry.place]);
        free_.push_back(entry.place);
        action();
        return true;
    }

 private:
    struct Entry {
        Instant time;
        std::uint64_t order;
        std::uint32_t place;                 // Of its action: what the heap moves about is small.
    };
    static bool later(const Entry& a, const Entry& b) {
        return a.time != b.time ? a.time > b.time : a.order > b.order;
    }

    Instant now_{};
    std::uint64_t next_ = 0;
    std::vector<Entry> heap_;
    std::vector<Action> actions_;
    std::vector<std::uint32_t> free_;        // Places of actions that have run.
};

}  // namespace starling::sim

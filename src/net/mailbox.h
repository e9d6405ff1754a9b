#pragma once
// Values from other threads, first in first out for each sender, with a wake-up of the reader's epoll.
// The only mutex of the project: it is held for a push or a swap, never while anything is done.
//
// A value is never dropped here. The bound works at the source: a loop whose target is `crowded` stops
// reading from its clients until the target has caught up.

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace starling::net {

template <typename T>
class Mailbox {
 public:
    static constexpr std::size_t kCrowded = 65536;

    Mailbox() : event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
    ~Mailbox() { ::close(event_); }
    Mailbox(const Mailbox&) = delete;
    Mailbox& operator=(const Mailbox&) = delete;

    void send(T value) {
        bool wake = false;
        {
            const std::lock_guard lock(mutex_);
            wake = values_.empty();
            values_.push_back(std::move(value));
            size_.store(values_.size(), std::memory_order_relaxed);
        }
        // Only the first value of a batch costs a system call.
        if (wake) {
            const std::uint64_t one = 1;
            [[maybe_unused]] const auto written = ::write(event_, &one, sizeof one);
        }
    }
    // Everything that is there, into an empty vector.
    void drain(std::vector<T>& out) {
        const std::lock_guard lock(mutex_);
        out.swap(values_);
        size_.store(0, std::memory_order_relaxed);
    }
    // Relaxed: a hint, read by other threads to slow down; nothing else depends on it.
    bool crowded() const { return size_.load(std::memory_order_relaxed) > kCrowded; }
    int event() const { return event_; }

 private:
    int event_;
    std::mutex mutex_;
    std::vector<T> values_;
    std::atomic<std::size_t> size_{0};
};

}  // namespace starling::net

#pragma once
// What waits to be sent to one connection. One frame, the common case, needs no memory of its own; more
// lie in a list that comes from a pool and goes back to it.

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace starling::net {

class FrameQueue {
 public:
    struct Rest {
        std::vector<SharedBytes> frames;
        std::size_t next = 0;                // The first that still waits.
    };
    using Pool = std::vector<std::unique_ptr<Rest>>;

    bool empty() const { return !first_; }
    std::size_t bytes() const { return bytes_; }

    void push(SharedBytes frame, Pool& pool) {
        if (frame.size() == 0) { return; }
        bytes_ += frame.size();
        if (!first_) {
            first_ = std::move(frame);
            return;
        }
        if (!rest_) { take_rest(pool); }
        rest_->frames.push_back(std::move(frame));
    }

    bool single() const { return first_ && !rest_; }
    ByteView front() const { return first_.view().substr(sent_); }

    // Whether the very same frames wait here and there, as after a burst to one channel.
    bool same_as(const FrameQueue& other) const {
        if (first_.identity() != other.first_.identity() || sent_ != 0 || other.sent_ != 0) { return false; }
        if (!rest_ || !other.rest_ || rest_->frames.size() - rest_->next != other.rest_->frames.size() - other.rest_->next) {
            return !rest_ && !other.rest_;
        }
        const auto begin = rest_->frames.begin() + static_cast<std::ptrdiff_t>(rest_->next);
        return std::equal(begin, rest_->frames.end(), other.rest_->frames.begin() + static_cast<std::ptrdiff_t>(other.rest_->next),
                          [](const SharedBytes& a, const SharedBytes& b) { return a.identity() == b.identity(); });
    }

    // All that waits, bytes() of them.
    void copy_to(char* out) const {
        const auto add = [&out](ByteView bytes) { out = std::copy(bytes.begin(), bytes.end(), out); };
        add(front());
        for (std::size_t i = rest_ ? rest_->next : 0; rest_ && i < rest_->frames.size(); ++i) { add(rest_->frames[i].view()); }
    }

    // The beginning of what waits, at most `most` parts; returns how many there are.
    int fill(iovec* parts, int most) const {
        if (!first_) { return 0; }
        int count = 0;
        const auto add = [&](const SharedBytes& frame, std::size_t skip) {
            parts[count++] = {const_cast<char*>(frame.view().data()) + skip, frame.size() - skip};
        };
        add(first_, sent_);
        for (std::size_t i = rest_ ? rest_->next : 0; rest_ && i < rest_->frames.size() && count < most; ++i) {
            add(rest_->frames[i], 0);
        }
        return count;
    }

    // So many of its bytes are sent.
    void drop(std::size_t size, Pool& pool) {
        bytes_ -= size;
        while (size > 0) {
            const std::size_t left = first_.size() - sent_;
            if (size < left) {
                sent_ += static_cast<std::uint32_t>(size);
                return;
            }
            size -= left;
            sent_ = 0;
            first_ = SharedBytes();
            if (!rest_) { return; }
            first_ = std::move(rest_->frames[rest_->next++]);
            if (rest_->next == rest_->frames.size()) { give_rest(pool); }
        }
    }

 private:
    static constexpr std::size_t kPooled = 1024;
    static constexpr std::size_t kPooledFrames = 64;

    void take_rest(Pool& pool) {
        if (pool.empty()) {
            rest_ = std::make_unique<Rest>();
            return;
        }
        rest_ = std::move(pool.back());
        pool.pop_back();
    }
    // A list that a burst has made large is not kept.
    void give_rest(Pool& pool) {
        if (pool.size() < kPooled && rest_->frames.capacity() <= kPooledFrames) {
            rest_->frames.clear();
            rest_->next = 0;
            pool.push_back(std::move(rest_));
        }
        rest_.reset();
    }

    SharedBytes first_;
    std::unique_ptr<Rest> rest_;
    std::size_t bytes_ = 0;
    std::uint32_t sent_ = 0;                 // Of the first.
};

}  // namespace starling::net

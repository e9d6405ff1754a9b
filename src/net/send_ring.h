#pragma once
// One frame each to many sockets with one system call, by io_uring. A batch is over when submit() returns: nothing
// of it goes on in the kernel, so what was to be sent may be given back. Used by the thread that opened it alone.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace starling::net {

class SendRing {
 public:
    static constexpr std::uint32_t kBatch = 512;

    // Null where the kernel has none (before Linux 6.1), forbids it, or does not tell of what it sent in part.
    static std::unique_ptr<SendRing> open();
    ~SendRing();
    SendRing(const SendRing&) = delete;

    bool full() const { return count_ == kBatch; }
    std::uint32_t size() const { return count_; }
    // Its place in the batch is the number of those before it. `bytes` live until submit() returns.
    void add(int descriptor, std::string_view bytes);

    struct Outcome {
        std::uint32_t place = 0;
        std::int32_t result = 0;             // Bytes sent, or a negative errno.
    };
    // Sends the batch without waiting for anybody. Returns those that were not sent whole, in no order. `taken` is how
    // many of the batch the kernel took; fewer than size(): the rest was not tried, and the ring is of no use any more.
    std::span<const Outcome> submit(std::uint32_t& taken);

 private:
    struct Ring;
    explicit SendRing(std::unique_ptr<Ring> ring);
    bool tells_the_truth();

    std::unique_ptr<Ring> ring_;
    std::uint32_t count_ = 0;
    std::vector<Outcome> outcomes_;
};

}  // namespace starling::net

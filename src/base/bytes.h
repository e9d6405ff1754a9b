#pragma once
// Who owns bytes: `ByteView` borrows for a call, `SharedBytes` is immutable and counted across
// threads, so one encoded frame serves every peer on every shard.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace starling {

using ByteView = std::string_view;

class SharedBytes {
 public:
    SharedBytes() = default;
    explicit SharedBytes(ByteView bytes) : SharedBytes(ByteView{}, bytes) {}
    // The concatenation of both parts, in one allocation.
    SharedBytes(ByteView head, ByteView tail) {
        const std::size_t size = head.size() + tail.size();
        block_ = new (::operator new(sizeof(Block) + size)) Block{1, static_cast<std::uint32_t>(size)};
        if (!head.empty()) { std::memcpy(data(), head.data(), head.size()); }
        if (!tail.empty()) { std::memcpy(data() + head.size(), tail.data(), tail.size()); }
    }
    SharedBytes(const SharedBytes& other) noexcept : block_(other.block_) {
        // Relaxed: a copy is made by someone who already holds a reference.
        if (block_ != nullptr) { block_->count.fetch_add(1, std::memory_order_relaxed); }
    }
    SharedBytes(SharedBytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    SharedBytes& operator=(SharedBytes other) noexcept {
        std::swap(block_, other.block_);
        return *this;
    }
    ~SharedBytes() {
        // Acquire-release pairs with the other holders' decrements: the last one sees all reads done.
        if (block_ != nullptr && block_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            block_->~Block();
            ::operator delete(block_);
        }
    }

    ByteView view() const noexcept {
        return block_ == nullptr ? ByteView{} : ByteView(data(), block_->size);
    }
    std::size_t size() const noexcept { return block_ == nullptr ? 0 : block_->size; }
    explicit operator bool() const noexcept { return block_ != nullptr; }
    // Identity, for caches that live no longer than a handle does.
    const void* identity() const noexcept { return block_; }

 private:
    struct Block {
        std::atomic<std::uint32_t> count;
        std::uint32_t size;
    };
    char* data() const noexcept { return reinterpret_cast<char*>(block_ + 1); }

    Block* block_ = nullptr;
};

}  // namespace starling

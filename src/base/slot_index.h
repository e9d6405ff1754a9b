#pragma once
// Finds the slot of a key that the slot itself holds: eight bytes a bucket and no copy of the key. The
// caller hashes (with the process's seed) and compares; the index knows neither keys nor slots.

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace starling {

class SlotIndex {
 public:
    std::size_t size() const { return size_; }

    // `equal(slot)`: whether that slot has the key.
    template <typename Equal>
    std::optional<std::uint32_t> find(std::uint64_t hash, Equal equal) const {
        if (size_ == 0) { return std::nullopt; }
        const auto tag = static_cast<std::uint32_t>(hash);
        for (std::size_t at = tag & mask(); buckets_[at].slot != kFree; at = (at + 1) & mask()) {
            if (buckets_[at].tag == tag && equal(buckets_[at].slot)) { return buckets_[at].slot; }
        }
        return std::nullopt;
    }

    // The key is not there yet.
    void insert(std::uint64_t hash, std::uint32_t slot) {
        if ((size_ + 1) * 4 > buckets_.size() * 3) { resize(buckets_.empty() ? 8 : buckets_.size() * 2); }
        put({static_cast<std::uint32_t>(hash), slot});
        ++size_;
    }

    // The slot is there.
    void erase(std::uint64_t hash, std::uint32_t slot) {
        std::size_t at = place(hash, slot);
        // Those behind it move up, so that no search meets a hole.
        for (std::size_t next = (at + 1) & mask(); buckets_[next].slot != kFree; next = (next + 1) & mask()) {
            const std::size_t wanted = buckets_[next].tag & mask();
            if (((next - wanted) & mask()) < ((next - at) & mask())) { continue; }
            buckets_[at] = buckets_[next];
            at = next;
        }
        buckets_[at].slot = kFree;
        --size_;
        if (buckets_.size() > 64 && size_ * 8 < buckets_.size()) { resize(buckets_.size() / 2); }
    }

    // Another slot has the key from now on.
    void replace(std::uint64_t hash, std::uint32_t slot, std::uint32_t by) { buckets_[place(hash, slot)].slot = by; }

 private:
    static constexpr std::uint32_t kFree = 0xffffffff;
    struct Bucket {
        std::uint32_t tag = 0;
        std::uint32_t slot = kFree;
    };

    std::size_t mask() const { return buckets_.size() - 1; }

    std::size_t place(std::uint64_t hash, std::uint32_t slot) const {
        CHECK(size_ > 0);
        std::size_t at = static_cast<std::uint32_t>(hash) & mask();
        while (buckets_[at].slot != slot) {
            CHECK(buckets_[at].slot != kFree);
            at = (at + 1) & mask();
        }
        return at;
    }

    void put(Bucket bucket) {
        std::size_t at = bucket.tag & mask();
        while (buckets_[at].slot != kFree) { at = (at + 1) & mask(); }
        buckets_[at] = bucket;
    }

    void resize(std::size_t buckets) {
        std::vector<Bucket> old(buckets);
        old.swap(buckets_);
        for (const Bucket& bucket : old) {
            if (bucket.slot != kFree) { put(bucket); }
        }
    }

    std::vector<Bucket> buckets_;            // A power of two; the tag's low bits are a bucket's first choice.
    std::size_t size_ = 0;
};

}  // namespace starling

#pragma once
// Things by number, in blocks: one stays where it is in memory, and the number of one that was given back is given to the
// next. The memory of all that were there at once is kept.

#include <cstdint>
#include <memory>
#include <vector>

namespace starling {

template <typename T>
class Slots {
    static constexpr std::uint32_t kBlock = 32;

    template <typename List, typename Value>
    class Walk {
     public:
        Walk(List* list, std::uint32_t at) : list_(list), at_(at) {}
        Value& operator*() const { return (*list_)[at_]; }
        Walk& operator++() {
            ++at_;
            return *this;
        }
        bool operator==(const Walk&) const = default;

     private:
        List* list_;
        std::uint32_t at_;
    };

 public:
    // As it was made, or as it was when it was given back.
    std::uint32_t take() {
        if (!free_.empty()) {
            const std::uint32_t slot = free_.back();
            free_.pop_back();
            return slot;
        }
        if (size_ % kBlock == 0) { blocks_.push_back(std::make_unique<T[]>(kBlock)); }
        return size_++;
    }
    void give_back(std::uint32_t slot) { free_.push_back(slot); }

    // Numbers in use are below it; so are those that were given back.
    std::uint32_t size() const { return size_; }
    T& operator[](std::uint32_t slot) { return blocks_[slot / kBlock][slot % kBlock]; }
    const T& operator[](std::uint32_t slot) const { return blocks_[slot / kBlock][slot % kBlock]; }
    auto begin() { return Walk<Slots, T>(this, 0); }
    auto end() { return Walk<Slots, T>(this, size_); }
    auto begin() const { return Walk<const Slots, const T>(this, 0); }
    auto end() const { return Walk<const Slots, const T>(this, size_); }

 private:
    std::vector<std::unique_ptr<T[]>> blocks_;
    std::vector<std::uint32_t> free_;
    std::uint32_t size_ = 0;
};

}  // namespace starling

#pragma once
// A list that is nearly always of one: the first lies in place, more of them in memory of their own. As narrow as what is in it.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#include "base/check.h"

namespace starling {

template <typename T>
class Few {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
    Few() = default;
    ~Few() { release(); }
    Few(const Few& other) { assign(other); }
    Few(Few&& other) noexcept { take(other); }
    Few& operator=(const Few& other) {
        if (this != &other) {
            release();
            assign(other);
        }
        return *this;
    }
    Few& operator=(Few&& other) noexcept {
        if (this != &other) {
            release();
            take(other);
        }
        return *this;
    }

    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T* begin() { return room_ == 0 ? &one_ : many(); }
    T* end() { return begin() + size_; }
    const T* begin() const { return room_ == 0 ? &one_ : many(); }
    const T* end() const { return begin() + size_; }
    T& operator[](std::size_t at) { return begin()[at]; }
    const T& operator[](std::size_t at) const { return begin()[at]; }
    T& back() { return begin()[size_ - 1]; }

    void push_back(const T& value) {
        const T copy = value;                // It may be one of ours.
        CHECK(size_ < kSizeMax);
        if (size_ == room()) { grow(); }
        begin()[size_++] = copy;
    }
    void pop_back() {
        if (--size_ == 0) { release(); }
    }
    // Those behind it move up.
    void erase(T* place) {
        std::copy(place + 1, end(), place);
        pop_back();
    }
    template <typename Matches>
    void erase_if(Matches matches) {
        size_ = static_cast<std::uint32_t>(std::remove_if(begin(), end(), matches) - begin()) & kSizeMax;
        if (size_ == 0) { release(); }
    }

 private:
    static constexpr std::uint32_t kSizeMax = (1U << 26) - 1;

    // 1, 2, 3, 4, 6, 8, 12, 16, 24 ...
    static constexpr std::uint32_t room_of(std::uint32_t step) {
        if (step == 0) { return 1; }
        return step % 2 == 1 ? 1U << (step / 2 + 1) : 3U << (step / 2 - 1);
    }
    std::uint32_t room() const { return room_of(room_); }
    T* many() const {
        T* at = nullptr;
        std::memcpy(&at, far_, sizeof at);
        return at;
    }
    void grow() {
        T* more = std::allocator<T>().allocate(room_of(room_ + 1U));
        std::copy(begin(), end(), more);
        if (room_ > 0) { std::allocator<T>().deallocate(many(), room()); }
        std::memcpy(far_, &more, sizeof more);
        ++room_;
    }
    void release() {
        if (room_ > 0) { std::allocator<T>().deallocate(many(), room()); }
        size_ = 0;
        room_ = 0;
        one_ = T{};
    }
    void assign(const Few& other) {
        for (const T& value : other) { push_back(value); }
    }
    void take(Few& other) {
        if (other.room_ == 0) {
            one_ = other.one_;
        } else {
            std::memcpy(far_, other.far_, sizeof far_);
        }
        size_ = other.size_;
        room_ = other.room_;
        other.room_ = 0;
        other.size_ = 0;
        other.one_ = T{};
    }

    std::uint32_t size_ : 26 = 0;
    std::uint32_t room_ : 6 = 0;             // A step of room_of(); 0: in place.
    union {
        T one_ = T{};
        char far_[sizeof(T*)];               // Where they are; unaligned.
    };
};

}  // namespace starling

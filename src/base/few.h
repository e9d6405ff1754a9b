#pragma once
// A list that is nearly always of one: the first lies in place, more of them in memory of their own.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

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
    T* begin() { return room_ == 1 ? &one_ : many_; }
    T* end() { return begin() + size_; }
    const T* begin() const { return room_ == 1 ? &one_ : many_; }
    const T* end() const { return begin() + size_; }
    T& operator[](std::size_t at) { return begin()[at]; }
    const T& operator[](std::size_t at) const { return begin()[at]; }
    T& back() { return begin()[size_ - 1]; }

    void push_back(const T& value) {
        const T copy = value;                // It may be one of ours.
        if (size_ == room_) { grow(); }
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
        size_ = static_cast<std::uint32_t>(std::remove_if(begin(), end(), matches) - begin());
        if (size_ == 0) { release(); }
    }

 private:
    void grow() {
        T* more = std::allocator<T>().allocate(room_ * 2);
        std::copy(begin(), end(), more);
        const std::uint32_t size = size_, room = room_ * 2;
        release();
        many_ = more;
        size_ = size;
        room_ = room;
    }
    void release() {
        if (room_ > 1) { std::allocator<T>().deallocate(many_, room_); }
        size_ = 0;
        room_ = 1;
        one_ = T{};
    }
    void assign(const Few& other) {
        for (const T& value : other) { push_back(value); }
    }
    void take(Few& other) {
        if (other.room_ == 1) {
            one_ = other.one_;
        } else {
            many_ = other.many_;
        }
        size_ = other.size_;
        room_ = other.room_;
        other.room_ = 1;
        other.size_ = 0;
        other.one_ = T{};
    }

    std::uint32_t size_ = 0;
    std::uint32_t room_ = 1;                 // 1: in place.
    union {
        T one_ = T{};
        T* many_;
    };
};

}  // namespace starling

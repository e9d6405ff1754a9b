#pragma once
// A value that is nearly always as it was made: one pointer, and memory of its own only while it is not. Whoever sets it
// back to what it was gives the memory back by reset().

#include <memory>
#include <utility>

namespace starling {

template <typename T>
class Apart {
 public:
    // As it was made where it is not kept.
    const T& peek() const {
        static const T kAsMade{};
        return value_ ? *value_ : kAsMade;
    }
    // Kept from here on.
    T& need() {
        if (!value_) { value_ = std::make_unique<T>(); }
        return *value_;
    }
    T& set(T value) {
        value_ = std::make_unique<T>(std::move(value));
        return *value_;
    }
    void reset() { value_.reset(); }
    explicit operator bool() const { return value_ != nullptr; }   // It has memory, be it as it was made or not.
    // There is one.
    T* operator->() const { return value_.get(); }
    T& operator*() const { return *value_; }

 private:
    std::unique_ptr<T> value_;
};

}  // namespace starling

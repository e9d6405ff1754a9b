#pragma once
// Text that is nearly always short and is kept many times: sixteen bytes, up to fifteen of them the text itself; what is
// longer lies in memory of its own. It is set as a whole and read as a view.

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace starling {

class ShortText {
 public:
    ShortText() = default;
    explicit ShortText(std::string_view text) { put(text); }
    ShortText(const ShortText& other) { put(other.view()); }
    ShortText(ShortText&& other) noexcept { swap(other); }
    ShortText& operator=(ShortText other) noexcept {
        swap(other);
        return *this;
    }
    ~ShortText() {
        if (far()) { delete[] pointer(); }
    }

    std::string_view view() const {
        if (!far()) { return {raw_, static_cast<unsigned char>(raw_[kRoom])}; }
        std::uint32_t size = 0;
        std::memcpy(&size, raw_ + sizeof(char*), sizeof size);
        return {pointer(), size};
    }
    bool empty() const { return raw_[kRoom] == 0; }
    friend bool operator==(const ShortText& a, const ShortText& b) { return a.view() == b.view(); }
    friend bool operator==(const ShortText& a, std::string_view b) { return a.view() == b; }

 private:
    static constexpr std::size_t kRoom = 15;
    static constexpr char kFar = 16;         // In place of the size.

    bool far() const { return raw_[kRoom] == kFar; }
    char* pointer() const {
        char* at = nullptr;
        std::memcpy(&at, raw_, sizeof at);
        return at;
    }
    void put(std::string_view text) {
        if (text.size() <= kRoom) {
            if (!text.empty()) { std::memcpy(raw_, text.data(), text.size()); }
            raw_[kRoom] = static_cast<char>(text.size());
            return;
        }
        char* at = new char[text.size()];
        std::memcpy(at, text.data(), text.size());
        const auto size = static_cast<std::uint32_t>(text.size());
        std::memcpy(raw_, &at, sizeof at);
        std::memcpy(raw_ + sizeof at, &size, sizeof size);
        raw_[kRoom] = kFar;
    }
    void swap(ShortText& other) noexcept { std::swap(raw_, other.raw_); }

    char raw_[kRoom + 1] = {};
};
static_assert(sizeof(ShortText) == 16);

}  // namespace starling

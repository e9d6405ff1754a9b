// Slots of Redis Cluster, and hash tags that lie in them as wanted.

#include "engine/redis.h"

namespace starling::engine {

namespace {

constexpr std::uint32_t kSlots = 16384;

// CRC-16/XMODEM, as the Redis Cluster specification names it.
std::uint16_t crc16(std::string_view bytes) {
    std::uint32_t crc = 0;
    for (const char byte : bytes) {
        crc ^= static_cast<std::uint32_t>(static_cast<unsigned char>(byte)) << 8;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc & 0x8000) != 0 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
        }
    }
    return static_cast<std::uint16_t>(crc);
}

}  // namespace

std::uint16_t slot_of(std::string_view key) {
    if (const auto open = key.find('{'); open != std::string_view::npos) {
        const auto close = key.find('}', open + 1);
        // An empty tag is no tag.
        if (close != std::string_view::npos && close != open + 1) { key = key.substr(open + 1, close - open - 1); }
    }
    return crc16(key) % kSlots;
}

// Tag i lies in the i-th of `count` equal ranges of slots, for servers hold ranges. All nodes must find the same
// ones, now and in later versions: the search below is part of the layout in Redis.
std::vector<std::string> make_tags(std::uint32_t count) {
    std::vector<std::string> tags;
    for (std::uint32_t i = 0; i < count; ++i) {
        std::string tag = std::to_string(i);
        for (std::uint32_t n = 1; std::uint64_t{slot_of(tag)} * count / kSlots != i; ++n) {
            tag = std::to_string(i) + '-' + std::to_string(n);
        }
        tags.push_back(std::move(tag));
    }
    return tags;
}

}  // namespace starling::engine

#pragma once
// Maps keyed by what clients choose: XXH3 with a seed that the process draws at start, so that
// nobody can aim for collisions.

#include <cstdint>
#include <string>
#include <string_view>

#include <tsl/robin_map.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace starling {

// Set once before any map exists; the simulator leaves it 0.
inline std::uint64_t hash_seed = 0;

inline std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const { return hash64(key, hash_seed); }
};

template <typename Value>
using StringMap = tsl::robin_map<std::string, Value, StringHash, std::equal_to<>>;

}  // namespace starling

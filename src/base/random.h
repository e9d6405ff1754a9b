#pragma once
// A seeded generator (xoshiro256**): the same seed gives the same run. The driver seeds it from
// the system, the simulator from its own seed. Not for secrets: those come from OpenSSL.

#include <array>
#include <bit>
#include <cstdint>
#include <string>

namespace starling {

class Rng {
 public:
    explicit Rng(std::uint64_t seed) {
        for (auto& word : state_) {  // splitmix64
            seed += 0x9e3779b97f4a7c15ULL;
            std::uint64_t z = seed;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
            word = z ^ (z >> 31);
        }
    }

    std::uint64_t next() {
        const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const std::uint64_t t = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= t;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }

    // Uniform enough in [0, bound); bound must not be 0.
    std::uint64_t below(std::uint64_t bound) { return next() % bound; }

    // `length` characters out of [a-z0-9].
    std::string word(std::size_t length) {
        static constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
        std::string out(length, ' ');
        for (auto& c : out) { c = kLetters[below(36)]; }
        return out;
    }

 private:
    std::array<std::uint64_t, 4> state_{};
};

}  // namespace starling

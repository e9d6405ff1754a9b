// Rounds of one scenario and nothing else: instructions for each round are steady where times are not, so a budget
// can hold them (tests/budget/).
// usage: starling_micro SCENARIO ROUNDS

#include <charconv>
#include <cstdio>
#include <string_view>

#include "micro/scenarios.h"

int main(int count, char** words) {
    using namespace starling::bench;
    std::size_t rounds = 0;
    if (count == 3) { std::from_chars(words[2], words[2] + std::string_view(words[2]).size(), rounds); }
    for (const Named& named : scenarios()) {
        if (rounds == 0 || std::string_view(words[1]) != named.name) { continue; }
        const auto scenario = named.make();
        std::size_t seen = 0;
        for (std::size_t i = 0; i < rounds; ++i) { seen += scenario->round(); }
        std::printf("%zu\n", seen);
        return 0;
    }
    std::fputs("usage: starling_micro SCENARIO ROUNDS\n", stderr);
    for (const Named& named : scenarios()) { std::fprintf(stderr, "  %s: %s\n", named.name, named.what); }
    return 2;
}

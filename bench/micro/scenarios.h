#pragma once
// The hot paths without a kernel, each as a scenario of rounds: a shard with the memory engine, the codec, presence.
// The same ones are counted in instructions (micro.cpp, held by tests/budget/) and timed (timed.cpp).

#include <cstddef>
#include <memory>
#include <span>

namespace starling::bench {

class Scenario {
 public:
    virtual ~Scenario() = default;
    // One unit of work; what it returns depends on the work, so that none of it can be left out.
    virtual std::size_t round() = 0;
};

struct Named {
    const char* name;
    const char* what;
    std::unique_ptr<Scenario> (*make)();
};
std::span<const Named> scenarios();

}  // namespace starling::bench

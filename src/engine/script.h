#pragma once
// A Lua script with the SHA-1 by which Redis knows it. The same text runs in Redis and in the simulator.

#include <string>

namespace starling::engine {

struct Script {
    std::string name;                        // For metrics.
    std::string text;
    std::string sha;                         // 40 hex digits.
};

Script make_script(std::string name, std::string text);

}  // namespace starling::engine

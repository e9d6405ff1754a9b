#pragma once
// Lua as Redis embeds it: the very scripts of the engine run here, with redis.call and the conversions
// between Lua and RESP as in Redis 7.0. What scripts of ours never use is left out (cjson, cmsgpack, bit,
// struct, RESP3, debugging).

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/hash.h"
#include "redis_reply.h"

struct lua_State;

namespace starling::sim {

std::string sha1_hex(std::string_view text);

// Where redis.call goes.
class ScriptCalls {
 public:
    virtual ~ScriptCalls() = default;
    virtual Reply script_call(Words& words) = 0;
};

class ScriptHost {
 public:
    ScriptHost();
    ~ScriptHost();
    ScriptHost(const ScriptHost&) = delete;
    ScriptHost& operator=(const ScriptHost&) = delete;

    // The error of compiling, or nil. Compiled once for each text, whichever server asks.
    Reply compile(const std::string& sha, std::string_view text);
    // What Redis answers to EVALSHA of a compiled script.
    Reply run(const std::string& sha, std::span<const std::string> keys, std::span<const std::string> arguments, ScriptCalls& calls);
    // sha1_hex(), remembered.
    const std::string& sha_of(const std::string& text);

 private:
    lua_State* lua_ = nullptr;
    ScriptCalls* calls_ = nullptr;           // During run().
    std::unordered_map<std::string, int, StringHash, std::equal_to<>> functions_;   // SHA-1 -> reference in Lua's registry.
    std::unordered_map<std::string, std::string, StringHash, std::equal_to<>> shas_;   // Of texts.
    Words words_;                            // Of the redis.call that runs.
    int handler_ = 0;                        // In the registry, too.

    friend struct ScriptBindings;
};

}  // namespace starling::sim

#pragma once
// Lua as Redis embeds it: the very scripts of the engine run here, with redis.call and the conversions
// between Lua and RESP as in Redis 7.0. What scripts of ours never use is left out (cjson, cmsgpack, bit,
// struct, RESP3, debugging).

#include <map>
#include <memory>
#include <string>
#include <string_view>

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
    Reply run(const std::string& sha, const Words& keys, const Words& arguments, ScriptCalls& calls);

 private:
    lua_State* lua_ = nullptr;
    ScriptCalls* calls_ = nullptr;           // During run().
    std::map<std::string, int> functions_;   // SHA-1 -> reference in Lua's registry.

    friend struct ScriptBindings;
};

}  // namespace starling::sim

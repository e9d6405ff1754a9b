#pragma once
// What the scripts of presence and of the log share.

#include <initializer_list>
#include <string>
#include <utility>

#include "engine/script.h"

namespace starling::engine::scripts {

// B: what every key of the partition begins with. f: a field, as src/engine/wire.h reads it. stir: the members of some channel
// changed, and not its log alone.
inline constexpr const char* kPrelude = R"lua(
local B = string.sub(KEYS[1], 1, -2)
local call = redis.call
local function f(s) return #s .. ':' .. s end
local function n2s(x) return string.format('%.0f', x) end
local function stir()
  call('INCR', B..'n')
  call('INCR', B..'np')
end
)lua";

// The epoch of a log is made by whoever asks first.
inline constexpr const char* kLog = R"lua(
local function log_of(ch, size, ep)
  local S = B..'sm:'..ch
  local m = call('HMGET', S, 'e', 'o', 'i', 'a')
  if not m[1] and size > 0 then
    call('HSET', S, 'e', ep, 'o', '0', 'i', '')
    call('EXPIRE', S, 86400)
    m = {ep, '0', '', m[4]}
  end
  return m[1] or '', m[2] or '0', m[3] or '', m[4] or '0'
end
)lua";

inline Script make(std::string name, std::initializer_list<const char*> parts) {
    std::string text;
    for (const char* part : parts) { text += part; }
    return make_script(std::move(name), std::move(text));
}

}  // namespace starling::engine::scripts

// The scripts of the log alone: messages, history, acknowledgements.
#include "engine/scripts.h"
#include "engine/scripts_parts.h"

namespace starling::engine::scripts {

namespace {

constexpr const char* kPublish = R"lua(
local pub, ch, id, body, except = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local size, ttl, key = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[9]
local I = B..'ik:'..ch..':'..key
if key ~= '' then
  local seen = call('HMGET', I, 'i', 'e', 'o')
  if seen[1] then return {1, seen[1], seen[2], seen[3]} end
end
local e, o, before = '', '0', ''
if size > 0 then
  local i, _
  e, _, i = log_of(ch, size, ARGV[8])
  before = i
  local S, X = B..'sm:'..ch, B..'s:'..ch
  o = n2s(call('HINCRBY', S, 'o', 1))
  call('HSET', S, 'i', id)
  call('XADD', X, 'MAXLEN', '=', size, o .. '-0', 'i', id, 'p', before, 'm', body)
  if ttl > 0 then
    call('PEXPIRE', X, ARGV[7])
    call('PEXPIRE', S, n2s(ttl + 86400000))
  else
    call('PERSIST', X)
    call('PERSIST', S)
  end
end
call('INCR', B..'n')
call(pub, B..'c:'..ch, 'M'..f(e)..f(o)..f(before)..f(id)..f(body)..f(except))
if key ~= '' then
  call('HSET', I, 'i', id, 'e', e, 'o', o)
  call('PEXPIRE', I, ARGV[10])
end
return {0, id, e, o}
)lua";

constexpr const char* kRead = R"lua(
local ch, from, to, count, reverse = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local e, o, i, a = log_of(ch, tonumber(ARGV[6]), ARGV[7])
local entries
if reverse == '1' then
  entries = call('XREVRANGE', B..'s:'..ch, to, from, 'COUNT', count)
else
  entries = call('XRANGE', B..'s:'..ch, from, to, 'COUNT', count)
end
local out = {}
for _, entry in ipairs(entries) do
  local x = entry[2]
  out[#out + 1] = string.match(entry[1], '^(%d+)')
  out[#out + 1] = x[2]
  out[#out + 1] = x[4]
  out[#out + 1] = x[6]
end
return {e, o, i, a, out}
)lua";

constexpr const char* kErase = R"lua(
local pub, ch, ep = ARGV[1], ARGV[2], ARGV[3]
local S = B..'sm:'..ch
call('DEL', B..'s:'..ch)
call('HSET', S, 'e', ep, 'o', '0', 'i', '')
call('EXPIRE', S, 86400)
call('INCR', B..'n')
call(pub, B..'c:'..ch, 'X' .. f(ep))
return {ep}
)lua";

constexpr const char* kAcknowledge = R"lua(
local pub, ch, offset, except = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local e, o, i, a = log_of(ch, 1, ARGV[5])
if offset <= tonumber(o) and offset > tonumber(a) then
  a = ARGV[3]
  call('HSET', B..'sm:'..ch, 'a', a)
  call(pub, B..'c:'..ch, 'A' .. f(a) .. f(except))
end
return {o, a}
)lua";

}  // namespace

const Script& publish() {
    static const Script script = make("publish", {kPrelude, kLog, kPublish});
    return script;
}
const Script& read() {
    static const Script script = make("read", {kPrelude, kLog, kRead});
    return script;
}
const Script& erase() {
    static const Script script = make("erase", {kPrelude, kErase});
    return script;
}
const Script& acknowledge() {
    static const Script script = make("acknowledge", {kPrelude, kLog, kAcknowledge});
    return script;
}

}  // namespace starling::engine::scripts

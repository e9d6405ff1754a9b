// The scripts of leases and presence, and those that look at presence and log together.
#include "engine/scripts.h"

#include "engine/scripts_parts.h"

namespace starling::engine::scripts {

namespace {

// One step of a channel's chain. ops: {kind, user, hash, at, version, data}; the answer: epoch, version, by how much the
// digest of the incarnation grows, and whether anything changed. A sum over one call is exact as a number of Lua; what is
// kept is added to by Redis.
constexpr const char* kChange = R"lua(
local function change(pub, ch, iid, ops, ep, tag)
  local M, N, U, D = B..'pm:'..ch, B..'pn:'..ch..':'..iid, B..'pu:'..ch, B..'pd:'..ch
  local m = call('HMGET', M, 'e', 'v', 't')
  local e, v, t = m[1], tonumber(m[2] or '0'), m[3] or ''
  local fresh = not e
  if fresh then e, v, t = ep, 0, '' end
  local out, grew, shrank, joined, left, mine, all = {}, 0, 0, 0, 0, 0, 0
  local function tell(kind, user, rec) out[#out + 1] = kind .. f(user) .. f(rec) end
  for _, op in ipairs(ops) do
    local kind, user, hash, at, ver, data = op[1], op[2], op[3], op[4], op[5], op[6]
    if kind == 'u' and call('HEXISTS', N, user) == 0 then kind = '' end
    if kind == '+' or kind == 'u' then
      local rec = call('HGET', D, user)
      local new = 0
      if kind == '+' then new = call('HSETNX', N, user, '1') end
      if new == 1 then
        grew, mine = grew + 1, mine + tonumber(hash)
        call('HINCRBY', U, user, 1)
      end
      local has = string.sub(data, 1, 1)
      if not rec then
        if ver == '0' then ver = n2s(v + 1) end
        if has == 'f' then data = '1' .. string.sub(data, 2) end
        rec = hash..':'..at..':'..ver..':'..string.sub(data, 1, 1)..':'..string.sub(data, 2)
        call('HSET', D, user, rec)
        joined, all = joined + 1, all + tonumber(hash)
        tell('J', user, rec)
      else
        local rat, rver, rest = string.match(rec, '^%d+:(%d+):(%d+):(.*)$')
        local changed = false
        if tonumber(at) < tonumber(rat) then rat, changed = at, true end
        if has == '1' then
          local given = '1:' .. string.sub(data, 2)
          if ver == '0' then
            if given ~= rest then
              rver = n2s(math.max(tonumber(rver), v) + 1)
              rest, changed = given, true
            end
          elseif tonumber(ver) > tonumber(rver) then
            rver, rest, changed = ver, given, true
          end
        end
        rec = hash..':'..rat..':'..rver..':'..rest
        if new == 1 then tell('+', user, rec) end
        if changed then
          call('HSET', D, user, rec)
          tell('U', user, rec)
        end
      end
    elseif kind == 'l' then
      local rec = call('HGET', D, user)
      if rec and call('HEXISTS', N, user) == 1 then tell('l', user, rec) end
    elseif kind == '-' or kind == 'c' then
      if call('HDEL', N, user) == 1 then
        local rec = call('HGET', D, user) or '0:0:0:0:'
        local h = tonumber(string.match(rec, '^(%d+)'))
        shrank, mine = shrank + 1, mine - h
        if call('HINCRBY', U, user, -1) <= 0 then
          call('HDEL', U, user)
          call('HDEL', D, user)
          left, all = left + 1, all - h
          tell('L', user, rec)
        else
          if kind == 'c' then rec = '0:0:' .. ver .. ':0:' end
          tell(kind, user, rec)
        end
      end
    end
  end
  if #out > 0 then
    if grew > 0 then call('SADD', B..'nc:'..iid, ch) end
    if shrank > 0 and call('HLEN', N) == 0 then call('SREM', B..'nc:'..iid, ch) end
    v = v + 1
    if fresh then
      call('HSET', M, 'e', e, 'v', n2s(v), 't', tag, 'd', n2s(all))
    else
      call('HSET', M, 'v', n2s(v), 't', tag)
      if all ~= 0 then call('HINCRBY', M, 'd', n2s(all)) end
    end
    if left > 0 and call('HLEN', D) == 0 then
      call('PEXPIRE', M, 600000)
    elseif joined > 0 and not fresh and (left > 0 or call('HLEN', D) == joined) then
      call('PERSIST', M)
    end
    call(pub, B..'c:'..ch, 'P'..f(e)..f(n2s(v))..f(t)..f(tag)..f(iid)..table.concat(out))
  end
  return e, n2s(v), mine, #out > 0
end
)lua";

constexpr const char* kLeases = R"lua(
local function leases()
  local out = {}
  for _, i in ipairs(call('SMEMBERS', B..'ls')) do
    local x = call('HMGET', B..'l:'..i, 'o', 's', 'a', 'c')
    if x[1] then
      out[#out + 1] = i
      for k = 1, 4 do out[#out + 1] = x[k] or '' end
    end
  end
  return out
end
)lua";

constexpr const char* kApply = R"lua(
local pub, iid, oseq, state, ep, tag = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local L = B..'l:'..iid
local s = call('HMGET', L, 'o', 's', 'd')
if not s[1] then return {'NOLEASE'} end
if s[2] == 'dead' then return {'FENCED'} end
local o, status = tonumber(s[1]), 'OK'
if oseq <= o then status = 'DUP' elseif oseq ~= o + 1 then return {'OPGAP', s[1]} end
if status == 'OK' then call('HSET', L, 'o', ARGV[3], 's', state) end
local at, grown, moved, i = {}, 0, false, 7
while i < #ARGV do
  local ch, count, e, v = ARGV[i], tonumber(ARGV[i+1])
  i = i + 2
  if status == 'OK' then
    local ops, mine, did = {}
    for k = 1, count do
      local w = i + 6 * (k - 1)
      ops[k] = {ARGV[w], ARGV[w+1], ARGV[w+2], ARGV[w+3], ARGV[w+4], ARGV[w+5]}
    end
    e, v, mine, did = change(pub, ch, iid, ops, ep, tag)
    grown, moved = grown + mine, moved or did
  else
    local m = call('HMGET', B..'pm:'..ch, 'e', 'v')
    e, v = m[1] or '', m[2] or '0'
  end
  i = i + 6 * count
  at[#at + 1] = e
  at[#at + 1] = v
end
local d = s[3] or '0'
if grown ~= 0 then
  call('HINCRBY', L, 'd', n2s(grown))
  d = call('HGET', L, 'd')
end
if moved then stir() end
if status == 'OK' then o = ARGV[3] else o = s[1] end
if #at > 0 then return {status, o, d, '0', at, {}} end
return {status, o, d, call('GET', B..'n') or '0', at, leases(), call('GET', B..'np') or '0'}
)lua";

constexpr const char* kReg = R"lua(
local iid = ARGV[1]
local L = B..'l:'..iid
local s = call('HMGET', L, 'o', 's')
if s[2] == 'dead' then return {'FENCED'} end
if not s[1] then
  call('HSET', L, 'o', '0', 's', 'live', 'a', ARGV[2], 'c', ARGV[3], 'd', '0')
  call('SADD', B..'ls', iid)
  stir()
end
return {'OK', call('HGET', L, 'o'), call('HGET', L, 'd'), call('GET', B..'n') or '0', {}, leases(), call('GET', B..'np') or '0'}
)lua";

constexpr const char* kReap = R"lua(
local pub, iid, expected, ep, tag = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local L, C = B..'l:'..iid, B..'nc:'..iid
local s = call('HMGET', L, 'o', 's')
if s[1] and s[2] ~= 'dead' then
  if expected ~= '' and s[1] ~= expected then return {'MOVED'} end
  call('HSET', L, 's', 'dead')
  stir()
end
if s[1] then call('PEXPIRE', L, 600000) end
local left, k = 64, 0
for _, ch in ipairs(call('SMEMBERS', C)) do
  local users = call('HSCAN', B..'pn:'..ch..':'..iid, '0', 'COUNT', left)[2]
  local ops = {}
  for i = 1, #users, 2 do
    if #ops < left then ops[#ops + 1] = {'-', users[i], '0', '0', '0', '0'} end
  end
  if #ops == 0 then
    call('SREM', C, ch)
  else
    k = k + 1
    change(pub, ch, iid, ops, ep, tag .. k)
  end
  left = left - #ops - 1
  if left <= 0 then break end
end
if k > 0 then stir() end
if call('SCARD', C) > 0 then return {'MORE'} end
call('SREM', B..'ls', iid)
if s[1] then call('HDEL', L, 'd') else call('DEL', L) end
return {'DONE'}
)lua";

// Several channels, as long as their members together are not too many; the first is always answered. Nobody is present in a
// user's own channel, "<app>/@<user>".
constexpr const char* kSnap = R"lua(
local ep, most = ARGV[1], tonumber(ARGV[2])
local out, sent = {}, 0
for i = 3, #ARGV, 2 do
  local ch = ARGV[i]
  local own = string.find(ch, '^[^/]*/@')
  local count, m = own and 0 or call('HLEN', B..'pd:'..ch), {}
  if #out > 0 and count <= most and sent + count > most then
    out[#out + 1] = false
  else
    if not own then m = call('HMGET', B..'pm:'..ch, 'e', 'v', 't', 'd') end
    local le, lo, li, la = log_of(ch, tonumber(ARGV[i+1]), ep)
    local members = {}
    if count > 0 and count <= most then
      members = call('HGETALL', B..'pd:'..ch)
      sent = sent + count
    end
    out[#out + 1] = {m[1] or '', m[2] or '0', m[3] or '', m[4] or '0', le, lo, li, la, count, members}
  end
end
return out
)lua";

constexpr const char* kHolders = R"lua(
local all, out = call('SMEMBERS', B..'ls'), {}
for i = 2, #ARGV do
  local by = {}
  for _, iid in ipairs(all) do
    if call('HEXISTS', B..'pn:'..ARGV[1]..':'..iid, ARGV[i]) == 1 then by[#by + 1] = iid end
  end
  out[#out + 1] = by
end
return out
)lua";

// One text for all of them, for words of their own would cost either side more. Whoever listens keeps an empty log's epoch alive.
constexpr const char* kMeta = R"lua(
local touch, out = ARGV[1] == '1', {}
for i = 2, #ARGV, 2 do
  local ch, what = ARGV[i], ARGV[i+1]
  local S = B..'sm:'..ch
  if what ~= 'l' then
    local m = call('HMGET', B..'pm:'..ch, 'e', 'v', 'd')
    out[#out + 1] = f(m[1] or '') .. f(m[2] or '0') .. f(m[3] or '0')
  end
  if what ~= 'm' then
    local s = call('HMGET', S, 'e', 'o', 'i')
    out[#out + 1] = f(s[1] or '') .. f(s[2] or '0') .. f(s[3] or '')
    if touch and s[1] then
      local left = call('TTL', S)
      if left >= 0 and left < 43200 then call('EXPIRE', S, 86400) end
    end
  end
end
return {table.concat(out)}
)lua";

}  // namespace

const Script& apply() {
    static const Script script = make("apply", {kPrelude, kChange, kLeases, kApply});
    return script;
}
const Script& reg() {
    static const Script script = make("reg", {kPrelude, kLeases, kReg});
    return script;
}
const Script& reap() {
    static const Script script = make("reap", {kPrelude, kChange, kReap});
    return script;
}
const Script& snap() {
    static const Script script = make("snap", {kPrelude, kLog, kSnap});
    return script;
}
const Script& meta() {
    static const Script script = make("meta", {kPrelude, kMeta});
    return script;
}
const Script& holders() {
    static const Script script = make("holders", {kPrelude, kHolders});
    return script;
}

}  // namespace starling::engine::scripts

-- The epoch and its sessions: one hash without an expiry, KEYS[1]. recovery.py says the same in Python.
-- Fields: id, since, t (time, never back), expected (msgpack; absent until named), s:<session> "seen status spoke",
-- marked (every node of a cluster has the epoch's marks).
local call = cmsgpack.unpack(ARGV[1])
local HASH = KEYS[1]
local SILENCE, REMEMBER = 30000, 3600000
local now = call.clock
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
if call.ceiling > 0 and now > call.ceiling then
  now = call.ceiling
end
now = math.max(now, tonumber(redis.call('HGET', HASH, 't') or 0))
if call.op == 'lost' and redis.call('HGET', HASH, 'id') == call.epoch then
  redis.call('DEL', HASH) -- A part of the store has been lost, so all of it counts as lost.
end
redis.call('HSET', HASH, 't', now)
if redis.call('HSETNX', HASH, 'id', call.fresh) == 1 then
  redis.call('HSET', HASH, 'since', now)
end

local id, since, expected = unpack(redis.call('HMGET', HASH, 'id', 'since', 'expected'))
local recorded = nil
if expected then
  expected = cmsgpack.unpack(expected)
  recorded = {}
  for _, name in ipairs(expected) do
    recorded[name] = true
  end
end

local function read(name)
  local text = redis.call('HGET', HASH, 's:' .. name)
  if not text then
    return nil
  end
  local seen, status, spoke = string.match(text, '^(%S+) (%S+) (%S+)$')
  return {seen = tonumber(seen), status = status, spoke = spoke}
end

local function write(name, known)
  redis.call('HSET', HASH, 's:' .. name, string.format('%.0f %s %s', known.seen, known.status, known.spoke))
end

local function touch(name)
  local known = read(name)
  if not known then
    known = {seen = now, status = (not recorded or recorded[name]) and 'must' or 'fresh', spoke = '0'}
  elseif known.status ~= 'ended' then
    known.seen = now
    if known.status == 'dropped' then
      known.status = 'must'
    end
  end
  write(name, known)
  return known
end

local op = call.op
if op == 'touch' then
  touch(call.session)
elseif op == 'declare' and call.epoch == id then
  local known = touch(call.session)
  if known.status ~= 'ended' then
    known.status, known.spoke = 'declared', '1'
    write(call.session, known)
  end
elseif op == 'end' then
  write(call.session, {seen = now, status = 'ended', spoke = '1'})
elseif op == 'marked' and call.epoch == id then
  redis.call('HSET', HASH, 'marked', 1)
elseif op == 'expect' and call.epoch == id and not recorded then
  expected, recorded = call.expected, {}
  for _, name in ipairs(expected) do
    recorded[name] = true
  end
  redis.call('HSET', HASH, 'expected', cmsgpack.pack(expected))
end

-- Who only says that a session lives has seen the others lately, and is told of this one alone.
if call.brief then
  local known = read(call.session)
  local alone = {call.session, known.seen, known.status, known.spoke == '1'}
  return cmsgpack.pack({id, tonumber(since), now, false, {alone}, false})
end

local sessions = {}
local all = redis.call('HGETALL', HASH)
for place = 1, #all, 2 do
  local name = string.match(all[place], '^s:(.*)$')
  if name then
    local known = read(name)
    local live = known.status == 'fresh' or known.status == 'declared' or known.status == 'must'
    if op == 'expect' and known.status == 'must' and known.spoke == '0' and recorded and not recorded[name] then
      known.status = 'fresh'
      write(name, known)
    elseif live and known.seen <= now - SILENCE then
      known.status = 'dropped'
      write(name, known)
    elseif not live and known.seen <= now - REMEMBER then
      redis.call('HDEL', HASH, 's:' .. name)
      if known.spoke == '1' and recorded and recorded[name] then
        local left = {}
        for _, other in ipairs(expected) do
          if other ~= name then
            left[#left + 1] = other
          end
        end
        expected, recorded[name] = left, nil
        redis.call('HSET', HASH, 'expected', cmsgpack.pack(left))
      end
      known = nil
    end
    if known then
      sessions[#sessions + 1] = {name, known.seen, known.status, known.spoke == '1'}
    end
  end
end
local marked = redis.call('HEXISTS', HASH, 'marked') == 1
return cmsgpack.pack({id, tonumber(since), now, expected or false, sessions, marked})

-- What all scripts of a project's counters share: time, windows, holdings. windows.py and books.py say the same.
-- ARGV[1] is msgpack; every key comes in KEYS (but see `former` in allow.lua). KEYS[1] is the project's hash of facts,
-- `call.windows` lists {key place, name, window ms} of each window that the call may touch.
local call = cmsgpack.unpack(ARGV[1])
local META = KEYS[1]
local KEPT = 122
local DAY = 86400000
local FAR = 30000

local function number(text)
  return tonumber(text) or 0
end

local function clock()
  local now = call.clock
  if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  if call.ceiling > 0 and now > call.ceiling then
    now = call.ceiling
  end
  return now
end

-- The store's time never goes back: the last one seen stands.
local kept = redis.call('HMGET', META, 't', 'lives')
local now = math.max(clock(), number(kept[1]))
local lives = math.max(DAY, number(kept[2])) -- The facts outlive every window: without them all is built anew.
redis.call('HSET', META, 't', now)
redis.call('PEXPIRE', META, lives)

local windows, places = {}, {}
for _, entry in ipairs(call.windows) do
  places[entry[2]] = entry
end

local function advance(w)
  local gone = math.floor(now / w.size) - KEPT
  if gone <= w.gone then
    return
  end
  if w.total > 0 then
    local old = {}
    if gone - w.gone <= 256 then
      local indices = {}
      for index = w.gone + 1, gone do
        indices[#indices + 1] = index
      end
      for place, units in ipairs(redis.call('HMGET', w.key, unpack(indices))) do
        if units then
          w.total = w.total - number(units)
          old[#old + 1] = indices[place]
        end
      end
    else
      local all = redis.call('HGETALL', w.key)
      for place = 1, #all, 2 do
        local index = tonumber(all[place])
        if index and index <= gone then
          w.total = w.total - number(all[place + 1])
          old[#old + 1] = index
        end
      end
    end
    if #old > 0 then
      redis.call('HDEL', w.key, unpack(old))
      w.dirty = true
    end
  end
  w.gone = gone
end

local function window(name)
  local w = windows[name]
  if w then
    return w
  end
  local entry = places[name]
  if not entry then
    return nil
  end
  local key = entry[4] or KEYS[entry[1]]
  local known = redis.call('HMGET', key, 'sum', 'gone', 'top', 'filled')
  w = {
    key = key, ms = entry[3], size = math.max(1, math.ceil(entry[3] / 120)),
    total = number(known[1]), gone = number(known[2]), top = number(known[3]), filled = known[4] and true or false,
    dirty = false,
  }
  advance(w)
  windows[name] = w
  return w
end

local function add(w, at, units)
  local index = math.floor(at / w.size)
  if index <= w.gone or units == 0 then
    return
  end
  redis.call('HINCRBY', w.key, index, units)
  w.total = w.total + units
  w.top = math.max(w.top, index)
  w.dirty = true
end

local function move(w, units, came, spent, goes)
  local index = math.floor(came / w.size)
  if index <= w.gone then
    return
  end
  if redis.call('HINCRBY', w.key, index, -units) == 0 then
    redis.call('HDEL', w.key, index)
  end
  w.total = w.total - units
  w.dirty = true
  add(w, goes, spent)
end

local function reset_of(w, short)
  local indices, counts = {}, {}
  local all = redis.call('HGETALL', w.key)
  for place = 1, #all, 2 do
    local index = tonumber(all[place])
    if index then
      indices[#indices + 1] = index
      counts[index] = number(all[place + 1])
    end
  end
  table.sort(indices)
  for _, index in ipairs(indices) do
    short = short - counts[index]
    if short <= 0 then
      return math.max(1, (index + KEPT) * w.size - now)
    end
  end
  return nil
end

-- Write what changed, and let everything vanish when it is idle.
local function finish(keys)
  for _, w in pairs(windows) do
    if w.dirty then
      redis.call('HSET', w.key, 'sum', w.total, 'gone', w.gone, 'top', w.top)
      if w.filled then
        redis.call('HSET', w.key, 'filled', 1)
      end
      local life = KEPT * w.size + 2 * FAR
      redis.call('PEXPIRE', w.key, life)
      if life > lives then
        lives = life
        redis.call('HSET', META, 'lives', life)
        redis.call('PEXPIRE', META, life)
      end
    end
  end
  for _, place in ipairs(keys) do
    redis.call('PEXPIRE', KEYS[place], DAY)
  end
end

local function learn(owner, version, micro_usd)
  local known = redis.call('HMGET', META, 'version:' .. owner, 'fact:' .. owner)
  if not known[1] or version >= number(known[1]) then
    redis.call('HSET', META, 'version:' .. owner, version, 'fact:' .. owner, micro_usd)
    return micro_usd
  end
  return number(known[2])
end

local function numbers(text)
  local found = {}
  for part in string.gmatch(text or '', '%S+') do
    found[#found + 1] = tonumber(part)
  end
  return found
end

-- A key's name may begin with that of the key whose limits it shares: `budget/key`.
local function budget_of(key)
  return string.match(key, '^[^/]*')
end

-- Whether the counters of one shape are counted by another, without gaps; recounting.py has the words.
local GAPS = '?'

local function has_all(known, wanted)
  local has = {}
  for name in string.gmatch(known, '%S+') do
    has[name] = true
  end
  for name in string.gmatch(wanted, '%S+') do
    if not has[name] then
      return false
    end
  end
  return string.sub(known, 1, 1) ~= GAPS
end

-- No session and no key has this character in its name.
local BETWEEN = '\31'

-- Holdings: KEYS[2] has the sums by owner and place (1 slots, 2 input, 3 output, 4 micro-USD), KEYS[3] the parts.
local function held_by(session, key)
  local text = redis.call('HGET', KEYS[3], session .. BETWEEN .. key)
  return text and numbers(text) or {0, 0, 0, 0}
end

local function hold(session, key, known, amounts)
  local left, changed = false, false
  for place = 1, 4 do
    local difference = amounts[place] - known[place]
    left = left or amounts[place] ~= 0
    if difference ~= 0 then
      changed = true
      for _, owner in ipairs({budget_of(key), '*'}) do
        local field = owner .. ':' .. place
        if redis.call('HINCRBY', KEYS[2], field, difference) == 0 then
          redis.call('HDEL', KEYS[2], field)
        end
      end
    end
  end
  if not changed then
    return
  end
  if left then
    redis.call('HSET', KEYS[3], session .. BETWEEN .. key, string.format('%.0f %.0f %.0f %.0f', unpack(amounts)))
  else
    redis.call('HDEL', KEYS[3], session .. BETWEEN .. key)
  end
end

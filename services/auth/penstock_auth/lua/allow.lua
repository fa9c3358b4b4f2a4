-- One call to Counters.allow. books.py and allowances.py say the same in Python.
-- KEYS: 1 facts, 2 sums of holdings, 3 holdings, 4 sessions seen, 5 turns, 6 leases of the key, 7 last answer.
local KEYS_KEPT = {2, 3, 4, 5, 6}
local SWEEP, SILENCE = 1000, 30000
local NEAR, SHORTEST, LONGEST, RECOVERING = 500, 50, 1000, 250
local POLL_SLOTS, POLL_TURN, POLL_HELD = 250, 250, 1000
local TURN_GRACE, MOST_TURNS, MOST_LEASES = 250, 256, 64
local ANSWER_KEPT = 900000
local budget = budget_of(call.key)
local me = call.session .. '|' .. call.key .. '|' .. call.kind

-- Each window must have what the key has used; of a new key each has.
local facts = redis.call('HMGET', META, 'rebuilt', 'shape:' .. call.key)
if not facts[1] then
  return cmsgpack.pack({'rebuild', now})
end
if facts[2] ~= call.shape then
  if facts[2] and not has_all(facts[2], call.shape) then
    return cmsgpack.pack({'recount', now})
  end
  redis.call('HSET', META, 'shape:' .. call.key, call.shape)
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do
    set[name] = true
  end
  return set
end

-- Drop the holdings of sessions that have ended, or have been silent for too long.
local function sweep()
  if now < number(redis.call('HGET', META, 'swept')) + SWEEP then
    return {}
  end
  redis.call('HSET', META, 'swept', now)
  local live, gone, silent, any = set_of(call.live), set_of(call.gone), {}, false
  local seen = redis.call('HGETALL', KEYS[4])
  for place = 1, #seen, 2 do
    local session = seen[place]
    local quiet = not live[session] and number(seen[place + 1]) <= now - SILENCE
    if session ~= call.session and (gone[session] or quiet) then
      silent[session], any = true, true
      redis.call('HDEL', KEYS[4], session)
    end
  end
  local dropped = {}
  if any then
    local told = {}
    local all = redis.call('HGETALL', KEYS[3])
    for place = 1, #all, 2 do
      local session, key = string.match(all[place], '^(.-)' .. BETWEEN .. '(.*)$')
      if silent[session] then
        hold(session, key, numbers(all[place + 1]), {0, 0, 0, 0})
        if not told[session] then
          told[session] = true
          dropped[#dropped + 1] = session
        end
      end
    end
  end
  return dropped
end

local dropped = sweep()

-- A repeated seq gets its answer again, with what is left of its times; an older one gets nothing.
local text = redis.call('GET', KEYS[7])
if text then
  local last = cmsgpack.unpack(text)
  if call.seq < last.seq then
    return cmsgpack.pack({'stale', now, dropped})
  end
  if call.seq == last.seq and redis.call('HEXISTS', KEYS[4], call.session) == 1 then
    local past, answer = now - last.at, last.answer
    if answer.granted then
      answer.life = math.max(0, answer.life - past)
    else
      answer.reset = math.max(0, answer.reset - past)
      answer.valid = math.max(0, answer.valid - past)
    end
    return cmsgpack.pack({'answer', now, dropped, answer})
  end
end

-- A window that a lease was booked in under another plan: of the same project, so in the same slot.
local function former(name)
  local ms = tonumber(string.match(name, ':(%d+)$'))
  local prefix = string.gsub(META, 'facts$', '')
  places[name] = {0, name, ms, prefix .. 'window:' .. name}
  return window(name)
end

for _, back in ipairs(call.returned) do
  local record = redis.call('HGET', KEYS[6], back[1])
  if record then
    redis.call('HDEL', KEYS[6], back[1])
    local lease = cmsgpack.unpack(record)
    local units, expiry = lease[1], lease[2]
    local spent = math.max(0, math.min(back[2], units))
    for _, name in ipairs(lease[3]) do
      move(window(name) or former(name), units, expiry, spent, math.min(now, expiry))
    end
  end
end

redis.call('HSET', KEYS[4], call.session, now)
local known = held_by(call.session, call.key)
local held = {key = {}, project = {}}
do
  local fields = {}
  for _, owner in ipairs({budget, '*'}) do
    for place = 1, 4 do
      fields[#fields + 1] = owner .. ':' .. place
    end
  end
  local sums = redis.call('HMGET', KEYS[2], unpack(fields))
  for place = 1, 4 do
    held.key[place] = number(sums[place]) - known[place] + call.keeping[place]
    held.project[place] = number(sums[place + 4]) - known[place] + call.keeping[place]
  end
end

-- Vectors have five places: requests, slots, input tokens, output tokens, micro-USD.
local function weigh(mask, amounts)
  local sum = 0
  for place = 1, 5 do
    if mask[place] == 1 then
      sum = sum + amounts[place]
    end
  end
  return sum
end

local function weigh_held(bound)
  local sums, sum = bound.project and held.project or held.key, 0
  for place = 2, 5 do
    if bound.mask[place] == 1 then
      sum = sum + sums[place - 1]
    end
  end
  return sum
end

-- Turns: those that were denied before this caller was.
local turns, my_since, turn_count = {}, now, 0
do
  local all = redis.call('HGETALL', KEYS[5])
  for place = 1, #all, 2 do
    local turn = cmsgpack.unpack(all[place + 1])
    turns[all[place]] = turn
    turn_count = turn_count + 1
    if all[place] == me and turn.til >= now then
      my_since = turn.since
    end
  end
end

local function ahead_of(bound)
  local sum = 0
  if bound.meter ~= 'requests' and bound.meter ~= 'slots' then
    return 0
  end
  for name, turn in pairs(turns) do
    if name ~= me and turn.til >= now and (turn.since < my_since or (turn.since == my_since and name < me)) then
      if bound.meter == 'requests' then
        if turn.kind == call.kind and (bound.project or turn.key == budget) then
          sum = sum + turn.requests
        end
      elseif turn.key == budget then
        sum = sum + turn.slots
      end
    end
  end
  return sum
end

for _, bound in ipairs(call.bounds) do
  bound.settled = 0
  if bound.window then
    local w = window(bound.window)
    if bound.meter == 'requests' and call.full_at > 0 and not w.filled and w.ms <= 300000 then
      w.filled, w.dirty = true, true
      add(w, call.full_at, math.max(0, bound.amount - w.total))
    end
    bound.settled = w.total
  elseif bound.meter == 'spend' then
    bound.settled = learn(budget, bound.version, bound.fact)
  elseif bound.meter == 'credit' then
    bound.amount = learn('*', bound.version, bound.fact)
  end
end
for _, bound in ipairs(call.bounds) do
  bound.held = weigh_held(bound)
  bound.unused = bound.amount - bound.settled - bound.held
  bound.free = bound.unused - ahead_of(bound)
end

local function shortage(bound, needed)
  local most = bound.amount
  if not bound.window then
    most = most - bound.settled
  end
  if needed > most then
    return {3, bound.reason, 0, LONGEST}
  end
  local wait
  if bound.window then
    if needed <= bound.unused then
      wait = POLL_TURN
    else
      local w = window(bound.window)
      wait = reset_of(w, needed - bound.free) or reset_of(w, needed - bound.unused) or POLL_HELD
    end
  else
    wait = bound.meter == 'slots' and POLL_SLOTS or POLL_HELD
  end
  return {2, bound.reason, wait, math.min(wait, LONGEST)}
end

local function refusal(bound)
  local needed = weigh(bound.mask, call.need)
  if needed == 0 then
    return nil
  end
  if needed > bound.free then
    if bound.window and bound.meter ~= 'requests' and needed > bound.amount and bound.amount > 0 then
      if call.strict then
        return {4, 'TOO_LARGE', 0, LONGEST}
      end
      if bound.settled + bound.held == 0 then
        return call.recovering and {1, 'RECOVERING', RECOVERING, RECOVERING} or nil
      end
      needed = bound.amount
    end
    return shortage(bound, needed)
  end
  if call.recovering then -- Those who have not spoken may have any part of any limit.
    return {1, 'RECOVERING', RECOVERING, RECOVERING}
  end
  return nil
end

local worst, worst_place
for place, bound in ipairs(call.bounds) do
  local found = refusal(bound)
  if found and (not worst or found[1] > worst[1] or (found[1] == worst[1] and found[3] > worst[3])) then
    worst, worst_place = found, place
  end
end

local function lend()
  local extra = {}
  for place = 1, 5 do
    extra[place] = math.max(0, call.want[place] - call.need[place])
  end
  for _, bound in ipairs(call.bounds) do
    local mask = bound.mask
    local spare = math.max(0, math.floor(bound.free / (2 * call.edges)) - weigh(mask, call.need))
    if call.recovering then
      spare = 0
    end
    if mask[3] == 1 and mask[4] == 1 then
      extra[3] = math.min(extra[3], math.floor(spare / 2))
      extra[4] = math.min(extra[4], spare - extra[3])
    else
      for place = 1, 5 do
        if mask[place] == 1 then
          extra[place] = math.min(extra[place], spare)
        end
      end
    end
  end
  local granted = {}
  for place = 1, 5 do
    granted[place] = call.need[place] + extra[place]
  end
  return granted, extra
end

local function life_of(free, amount, ms)
  local far = ms and math.max(1, math.min(FAR, math.floor(ms / 2))) or FAR
  local near = ms and math.min(NEAR, math.max(SHORTEST, math.ceil(ms / 120))) or NEAR
  near = math.min(near, far)
  if 2 * free <= amount then
    return near
  end
  return near + math.floor((2 * free - amount) / amount * (far - near))
end

local function shortest_life(granted, extra)
  local life = FAR
  for _, bound in ipairs(call.bounds) do
    local counts = false
    if bound.mask[1] == 1 then
      counts = granted[1] > 0
    else
      for place = 2, 5 do
        counts = counts or (bound.mask[place] == 1 and extra[place] > 0)
      end
    end
    if counts then
      local ms = bound.window and window(bound.window).ms
      life = math.min(life, life_of(bound.unused - weigh(bound.mask, granted), bound.amount, ms))
    end
  end
  return life
end

local function prune_leases()
  if redis.call('HLEN', KEYS[6]) <= MOST_LEASES then
    return
  end
  local all = redis.call('HGETALL', KEYS[6])
  for place = 1, #all, 2 do
    if cmsgpack.unpack(all[place + 1])[2] <= now - FAR then
      redis.call('HDEL', KEYS[6], all[place])
    end
  end
end

local function wait_turn(valid)
  if turn_count >= MOST_TURNS then
    for name, turn in pairs(turns) do
      if turn.til < now then
        redis.call('HDEL', KEYS[5], name)
        turns[name], turn_count = nil, turn_count - 1
      end
    end
  end
  if turns[me] or turn_count < MOST_TURNS then
    redis.call('HSET', KEYS[5], me, cmsgpack.pack({
      since = my_since, til = now + valid + TURN_GRACE, key = budget, kind = call.kind,
      requests = call.need[1], slots = call.need[2],
    }))
  end
end

local answer
local holding = call.keeping
if worst then
  local bound = call.bounds[worst_place]
  if (worst[2] == 'REQUESTS' or worst[2] == 'CONCURRENCY') and worst[3] > 0 then
    wait_turn(worst[4])
  elseif turns[me] then
    redis.call('HDEL', KEYS[5], me)
  end
  answer = {reason = worst[2], place = worst_place, amount = bound.amount, reset = worst[3], valid = worst[4]}
else
  if turns[me] then
    redis.call('HDEL', KEYS[5], me)
  end
  local granted, extra = lend()
  local life = shortest_life(granted, extra)
  if granted[1] > 0 then
    local booked = {}
    for _, name in ipairs(call.lease_windows) do
      add(window(name), now + life, granted[1])
      booked[#booked + 1] = name
    end
    if #booked > 0 then
      redis.call('HSET', KEYS[6], call.lease_id, cmsgpack.pack({granted[1], now + life, booked, now, call.kind}))
      prune_leases()
    end
  end
  holding = {}
  for place = 1, 4 do
    holding[place] = call.keeping[place] + granted[place + 1]
    held.key[place] = held.key[place] + granted[place + 1]
    held.project[place] = held.project[place] + granted[place + 1]
  end
  answer = {
    granted = true, requests = granted[1], life = life, holding = holding,
    lease_id = granted[1] > 0 and call.lease_id or '',
  }
end
hold(call.session, call.key, known, holding)

answer.states = {}
for place, bound in ipairs(call.bounds) do
  local used, reset = weigh_held(bound), 0
  if bound.window then
    local w = window(bound.window)
    used = used + w.total
    reset = w.total > 0 and math.max(0, (w.top + KEPT) * w.size - now) or 0
  end
  answer.states[place] = {math.max(0, bound.amount - used), reset}
end
redis.call('SET', KEYS[7], cmsgpack.pack({seq = call.seq, at = now, answer = answer}), 'PX', ANSWER_KEPT)
finish(KEYS_KEPT)
return cmsgpack.pack({'answer', now, dropped, answer})

-- A project is counted anew because a plan has changed (recounting.py, ledger_windows.py). KEYS: 1 facts; then by op.
-- While META has `recount_until` in the future, settlements wait and `recount` is the token of who counts.
local function mine()
  return redis.call('HGET', META, 'recount') == call.token
end

local function begin()
  local held = redis.call('HMGET', META, 'recount', 'recount_until')
  if held[1] and held[1] ~= call.token and number(held[2]) > now then
    return {'busy', now}
  end
  redis.call('HSET', META, 'recount', call.token, 'recount_until', now + call.lock)
  local shapes, all = {}, redis.call('HGETALL', META)
  for place = 1, #all, 2 do
    local key = string.match(all[place], '^shape:(.*)$')
    if key then
      shapes[#shapes + 1] = {key, all[place + 1]}
    end
  end
  return {'done', now, shapes}
end

-- A lease: units, expiry, windows, when it was granted, its kind; leases of before that was noted have neither.
local function each_lease(key, visit)
  local all = redis.call('HGETALL', key)
  for place = 1, #all, 2 do
    local lease = cmsgpack.unpack(all[place + 1])
    lease[4] = lease[4] or lease[2] - FAR
    lease[5] = lease[5] or string.match(lease[3][1] or '', ':([^:]*):%d+$') or 'requests'
    visit(all[place], lease)
  end
end

-- Leases of requests of the keys in KEYS, with the place of each key.
local function leases()
  local found = {}
  for place = 2, #KEYS do
    each_lease(KEYS[place], function(id, lease)
      if lease[5] == 'requests' then
        found[#found + 1] = {place - 1, id, lease[4], lease[2]}
      end
    end)
  end
  return {'done', now, found}
end

local function carry(told, joined, lent, present)
  each_lease(KEYS[told.place], function(id, lease)
    local booked, changed = {}, false
    for _, name in ipairs(lease[3]) do
      booked[name] = true
    end
    for _, name in ipairs(told.booked[lease[5]]) do
      if joined[name] or not booked[name] then
        add(window(name), lease[2], lease[1])
        changed = true
      end
      if not booked[name] then
        lease[3][#lease[3] + 1] = name
      end
    end
    if changed then
      redis.call('HSET', KEYS[told.place], id, cmsgpack.pack(lease))
    end
    if lease[5] == 'requests' then
      lent[#lent + 1] = {told.key, string.match(id, '^(.*)/[^/]*$') or id, lease[4], lease[2]}
      present[id] = true
    end
  end)
end

local function replace()
  if not mine() then
    return {'late', now}
  end
  local joined, lent, present = {}, {}, {}
  for _, taken in ipairs(call.taken) do
    local name, counted = taken[1], KEYS[taken[2]]
    if redis.call('EXISTS', counted) == 1 then
      redis.call('RENAME', counted, KEYS[places[name][1]])
      window(name).dirty = true
    else
      redis.call('DEL', KEYS[places[name][1]])
    end
  end
  for _, name in ipairs(call.joined) do
    joined[name] = true
    redis.call('HSET', META, 'joined:' .. name, now)
  end
  for _, told in ipairs(call.leases) do
    carry(told, joined, lent, present)
  end
  -- Rows were left out beside leases that have come back meanwhile.
  for _, omitted in ipairs(call.omitted) do
    if not present[omitted[1]] then
      add(window(omitted[3]), math.min(omitted[2], now), 1)
    end
  end
  for _, shape in ipairs(call.shapes) do
    redis.call('HSET', META, 'shape:' .. shape[1], shape[2])
  end
  finish({})
  return {'done', now, lent}
end

-- What was read counts with the windows that come.
local function mark()
  if mine() then
    for place = 2, #KEYS do
      redis.call('SET', KEYS[place], 1, 'PX', 900000)
    end
  end
  return {'done', now}
end

-- All is in force. What was lent then is kept for requests that are open still.
local function done()
  if mine() then
    for _, key in ipairs(call.gone) do
      redis.call('HDEL', META, 'shape:' .. key)
    end
    redis.call('HSET', META, 'recounted', now, 'lent', cmsgpack.pack(call.lent))
  end
  return {'done', now}
end

local function let_go()
  if mine() then
    redis.call('HDEL', META, 'recount', 'recount_until')
  end
  return {'done', now}
end

local ops = {begin = begin, leases = leases, replace = replace, mark = mark, done = done, ['end'] = let_go}
return cmsgpack.pack(ops[call.op]())

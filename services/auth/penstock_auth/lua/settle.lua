-- Counters.settle for one project. KEYS: 1 facts; then windows, and a mark for each request id, by place.
-- A project that this epoch has not rebuilt may be one of a lost store: the caller looks at the epoch first.
local known_facts = redis.call('HMGET', META, 'rebuilt', 'recount_until', 'recounted')
if call.careful and not known_facts[1] then
  return cmsgpack.pack({'rebuild', now})
end
if number(known_facts[2]) > now then
  return cmsgpack.pack({'busy', now})
end
-- Requests that were open when windows were counted anew are not in them yet.
local recounted = number(known_facts[3])
if call.oldest < recounted and not call.whole then
  return cmsgpack.pack({'open', now})
end

-- What is settled under other limits than a key is counted by leaves gaps in its windows.
local function note_shape(key, told)
  local field = 'shape:' .. key
  local known = redis.call('HGET', META, field)
  if not known then
    redis.call('HSET', META, field, told)
  elseif known ~= told and string.sub(known, 1, 1) ~= GAPS and not has_all(told, known) then
    redis.call('HSET', META, field, GAPS .. known)
  end
end

if known_facts[1] then
  for _, entry in ipairs(call.shapes) do
    note_shape(entry[1], entry[2])
  end
end

local lent
local function was_lent(effect)
  lent = lent or cmsgpack.unpack(redis.call('HGET', META, 'lent'))
  for _, lease in ipairs(lent) do
    if lease[1] == effect.key and lease[2] == effect.session and lease[3] <= effect.at and effect.at <= lease[4] then
      return true
    end
  end
  return false
end

-- What rows of one batch add to one bucket is added at once.
local sums = {}
local function sum_up(name, at, units)
  local w = window(name)
  local index = math.floor(at / w.size)
  sums[name] = sums[name] or {}
  sums[name][index] = (sums[name][index] or 0) + units
end

for _, effect in ipairs(call.effects) do
  for _, fact in ipairs(effect.facts) do
    learn(fact[1], fact[2], fact[3])
  end
  if effect.mark > 0 and redis.call('SET', KEYS[effect.mark], 1, 'NX', 'PX', 900000) then
    for _, entry in ipairs(effect.adds) do
      sum_up(entry[1], math.min(effect.at, now), entry[2])
    end
    if effect.at < recounted and #effect.requests > 0 and not was_lent(effect) then
      for _, name in ipairs(effect.requests) do
        if effect.at < number(redis.call('HGET', META, 'joined:' .. name)) then
          sum_up(name, effect.at, 1)
        end
      end
    end
  end
end
for name, buckets in pairs(sums) do
  local w = window(name)
  for index, units in pairs(buckets) do
    add(w, index * w.size, units)
  end
end
finish({})
return cmsgpack.pack({'done', now})

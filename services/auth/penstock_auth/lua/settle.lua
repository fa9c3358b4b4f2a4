-- Counters.settle for one project. KEYS: 1 facts; then windows, and a mark for each request id, by place.
-- A project that this epoch has not rebuilt may be one of a lost store: the caller looks at the epoch first.
if call.careful and redis.call('HEXISTS', META, 'rebuilt') == 0 then
  return cmsgpack.pack({'rebuild', now})
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

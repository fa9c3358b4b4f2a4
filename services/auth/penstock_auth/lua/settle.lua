-- Counters.settle for one project. KEYS: 1 facts; then windows, and a mark for each request id, by place.
-- A project that this epoch has not rebuilt may be one of a lost store: the caller looks at the epoch first.
if call.careful and redis.call('HEXISTS', META, 'rebuilt') == 0 then
  return cmsgpack.pack({'rebuild', now})
end
for _, effect in ipairs(call.effects) do
  for _, fact in ipairs(effect.facts) do
    learn(fact[1], fact[2], fact[3])
  end
  if effect.mark > 0 and redis.call('SET', KEYS[effect.mark], 1, 'NX', 'PX', 900000) then
    for _, entry in ipairs(effect.adds) do
      add(window(entry[1]), math.min(effect.at, now), entry[2])
    end
  end
end
finish({})
return cmsgpack.pack({'done', now})

-- What a session declares of one project. KEYS: 1 facts, 2 sums of holdings, 3 holdings, 4 sessions seen; then leases
-- of each key and windows, by place. What is known is never lowered; leases and admissions of a key count once.
redis.call('HSET', KEYS[4], call.session, now)
local expiring = {2, 3, 4}
for _, told in ipairs(call.told) do
  local known = held_by(call.session, told.key)
  local amounts = {}
  for place = 1, 4 do
    amounts[place] = math.max(known[place], told.holding[place])
  end
  hold(call.session, told.key, known, amounts)
  local mark = 'declared:' .. call.session .. BETWEEN .. told.key
  if call.first and redis.call('HSETNX', META, mark, 1) == 1 then
    for _, lease in ipairs(told.leases) do
      if lease.unspent > 0 and redis.call('HEXISTS', KEYS[told.place], lease.id) == 0 then
        local expiry = now + math.max(0, math.min(lease.life, FAR))
        for _, name in ipairs(lease.windows) do
          add(window(name), expiry, lease.unspent)
        end
        local record = {lease.unspent, expiry, lease.windows, now, lease.kind}
        redis.call('HSET', KEYS[told.place], lease.id, cmsgpack.pack(record))
      end
    end
    for _, admission in ipairs(told.admissions) do
      for _, name in ipairs(admission.windows) do
        add(window(name), math.min(admission.at, now), admission.requests)
      end
    end
    expiring[#expiring + 1] = told.place
  end
end
finish(expiring)
return cmsgpack.pack({'done', now})

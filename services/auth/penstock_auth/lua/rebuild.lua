-- The ledger's rows after a loss, in pieces: rows with an id (and a mark each, by place), then sums and the last word.
-- KEYS: 1 facts; then windows and marks. Rows that were settled meanwhile have their mark and are counted already.
-- With a token, sums for windows that are not in force yet (recount.lua).
local wanted
if call.token ~= '' then
  wanted = redis.call('HGET', META, 'recount') == call.token
else
  wanted = redis.call('HEXISTS', META, 'rebuilt') == 0
end
if wanted then
  for _, row in ipairs(call.rows) do
    if row.mark == 0 or redis.call('SET', KEYS[row.mark], 1, 'NX', 'PX', 900000) then
      for _, entry in ipairs(row.adds) do
        add(window(entry[1]), math.min(row.at, now), entry[2])
      end
    end
  end
  if call.last then
    redis.call('HSET', META, 'rebuilt', 1)
    for _, shape in ipairs(call.shapes) do
      redis.call('HSET', META, 'shape:' .. shape[1], shape[2])
    end
  end
end
finish({})
if call.token ~= '' then
  for _, w in pairs(windows) do
    redis.call('PEXPIRE', w.key, 60000)
  end
end
return cmsgpack.pack({'done', now})

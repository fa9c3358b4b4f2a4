-- The ledger's rows after a loss, in pieces: rows with an id (and a mark each, by place), then sums and the last word.
-- KEYS: 1 facts; then windows and marks. Rows that were settled meanwhile have their mark and are counted already.
if redis.call('HEXISTS', META, 'rebuilt') == 0 then
  for _, row in ipairs(call.rows) do
    if row.mark == 0 or redis.call('SET', KEYS[row.mark], 1, 'NX', 'PX', 900000) then
      for _, entry in ipairs(row.adds) do
        add(window(entry[1]), math.min(row.at, now), entry[2])
      end
    end
  end
  if call.last then
    redis.call('HSET', META, 'rebuilt', 1)
  end
end
finish({})
return cmsgpack.pack({'done', now})

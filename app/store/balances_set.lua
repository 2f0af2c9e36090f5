-- Set counters to what the ledger says, plus what was applied since the note.
-- KEYS: the counters. ARGV: for each the nonce, applied and number of its note, and the spend read after it.
-- Refused where the counter is another one by now, or was set already by a later note, whose read was a later one.
-- An empty spend is that of a window which is over for the ledger: its counter decides nothing any more.
for i, name in ipairs(KEYS) do
  local nonce, noted, number, spend = ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
  local found = redis.call('HMGET', name, 'nonce', 'applied', 'based')
  if found[1] == nonce and tonumber(found[3]) < tonumber(number) then
    if spend == '' then
      redis.call('HDEL', name, 'seeded')
      redis.call('HSET', name, 'based', number)
    else
      redis.call('HSET', name, 'used', spend, 'seeded', '1', 'based', number, 'confirmed', noted)
    end
    if spend ~= '' and found[2] ~= noted then
      redis.call('HINCRBY', name, 'used', found[2])
      if noted ~= '0' then
        redis.call('HINCRBY', name, 'used', '-' .. noted)
      end
    end
  end
end
return #KEYS

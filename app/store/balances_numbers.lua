-- How full limits are: `keys` from `first` on are so many budgets' counters, then rates, then slots to the end.
-- Answers the budgets' {used, held, confirmed}, the rates and the slots' {taken, when the first is free by time alone};
-- and the budgets' nonces, and which of them are not seeded, counted from 0.
local function numbers(keys, first, budgets, rates, now)
  local found, nonces, cold = {}, {}, {}
  for i = 1, budgets do
    local counter = redis.call('HMGET', keys[first + i - 1], 'used', 'held', 'seeded', 'applied', 'confirmed', 'nonce')
    if not counter[3] then
      cold[#cold + 1] = i - 1
    end
    found[i] = {counter[1] or '0', counter[2] or '0', counter[4] == counter[5] and 1 or 0}
    nonces[i] = counter[6]
  end
  first = first + budgets
  local counts = {}
  for i = 1, rates do
    counts[i] = redis.call('GET', keys[first + i - 1]) or '0'
  end
  local slots = {}
  for i = first + rates, #keys do
    redis.call('ZREMRANGEBYSCORE', keys[i], '-inf', now)
    local soonest = redis.call('ZRANGE', keys[i], 0, 0, 'WITHSCORES')
    slots[#slots + 1] = {redis.call('ZCARD', keys[i]), soonest[2] or ''}
  end
  return found, counts, slots, nonces, cold
end

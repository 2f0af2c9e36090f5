-- Decide a call and hold what it may cost: every limit or none.
-- KEYS: when this Redis began, the hold, all open holds; then the entities, the budgets' counters, the rates and the
-- slots, in the order of the call. ARGV: the call as JSON; amounts in it are texts, for numbers here are doubles.
-- Answers {outcome, ..., budgets {used, held, confirmed}, rates, slots as they are now}.
local call = cjson.decode(ARGV[1])
local state = freshness(KEYS, 4, call.versions, call.fresh)
if state ~= 'FRESH' then
  return {state}
end
local born = redis.call('GET', KEYS[1])
if not born then
  born = call.now
  redis.call('SET', KEYS[1], born)
end

local first = 3 + #call.versions
local cold, budgets, nonces = {}, {}, {}
for i = 1, #call.budgets do
  local found = redis.call('HMGET', KEYS[first + i], 'used', 'held', 'seeded', 'applied', 'confirmed', 'nonce')
  if not found[3] then
    cold[#cold + 1] = i - 1
  end
  budgets[i] = {found[1] or '0', found[2] or '0', found[4] == found[5] and 1 or 0}
  nonces[i] = found[6]
end
first = first + #call.budgets
local rates = {}
for i = 1, #call.rates do
  rates[i] = redis.call('GET', KEYS[first + i]) or '0'
end
first = first + #call.rates
local slots = {}
for i = 1, #call.slots do
  redis.call('ZREMRANGEBYSCORE', KEYS[first + i], '-inf', call.now)
  slots[i] = redis.call('ZCARD', KEYS[first + i])
end

if not call.consume then
  return {'SEEN', budgets, rates, slots}
end
local held = redis.call('HMGET', KEYS[2], 'state', 'reservation', 'deadline', 'amount')
if held[1] == 'open' or (held[1] == 'charged' and held[2]) then
  return {'REPLAY', budgets, rates, slots, held[2], held[3], held[4]}
end
if #call.budgets > 0 and tonumber(call.now) < tonumber(born) + tonumber(call.loss) then
  return {'LOST', budgets, rates, slots, string.format('%.0f', tonumber(born) + tonumber(call.loss))}
end
if #cold > 0 then
  return {'COLD', budgets, rates, slots, cold}
end

-- Something is left, and the amount fits into it.
local function admits(taken, amount, cap)
  return taken < tonumber(cap) and taken + tonumber(amount) <= tonumber(cap)
end
for i, budget in ipairs(call.budgets) do
  if not admits(tonumber(budgets[i][1]) + tonumber(budgets[i][2]), call.amount, budget[1]) then
    local ripe = redis.call('ZCOUNT', KEYS[3], '-inf', call.now)
    return {'REFUSED', budgets, rates, slots, 'budget', i - 1, ripe}
  end
end
for i, rate in ipairs(call.rates) do
  if not admits(tonumber(rates[i]), rate[2], rate[1]) then
    return {'REFUSED', budgets, rates, slots, 'rate', i - 1, 0}
  end
end
first = 3 + #call.versions + #call.budgets + #call.rates
for i, limit in ipairs(call.slots) do
  if slots[i] >= tonumber(limit) then
    local soonest = redis.call('ZRANGE', KEYS[first + i], 0, 0, 'WITHSCORES')
    return {'REFUSED', budgets, rates, slots, 'slots', i - 1, 0, soonest[2]}
  end
end

local counters, tokens, places = {}, {}, {}
first = 3 + #call.versions
for i, budget in ipairs(call.budgets) do
  local name = KEYS[first + i]
  budgets[i][2] = string.format('%.0f', redis.call('HINCRBY', name, 'held', call.amount))
  if redis.call('PTTL', name) < tonumber(budget[2]) then
    redis.call('PEXPIRE', name, budget[2])
  end
  counters[i] = {name, nonces[i]}
end
first = first + #call.budgets
for i, rate in ipairs(call.rates) do
  local name = KEYS[first + i]
  rates[i] = string.format('%.0f', redis.call('INCRBY', name, rate[2]))
  redis.call('PEXPIRE', name, 120000)
  if rate[3] then
    tokens[#tokens + 1] = {name, rate[2]}
  end
end
first = first + #call.rates
for i = 1, #call.slots do
  local name = KEYS[first + i]
  redis.call('ZADD', name, call.deadline, KEYS[2])
  redis.call('PEXPIRE', name, call.keep)
  slots[i] = slots[i] + 1
  places[i] = name
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'state', 'open', 'amount', call.amount, 'deadline', call.deadline,
  'reservation', call.reservation, 'key_id', call.key_id, 'request_id', call.request_id,
  'counters', cjson.encode(counters), 'tokens', cjson.encode(tokens), 'slots', cjson.encode(places))
redis.call('PEXPIRE', KEYS[2], call.keep)
redis.call('ZADD', KEYS[3], call.deadline, KEYS[2])
return {'HELD', budgets, rates, slots}

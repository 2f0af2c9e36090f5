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

local first = 4 + #call.versions
local budgets, rates, slots, nonces, cold = numbers(KEYS, first, #call.budgets, #call.rates, call.now)
local held = redis.call('HMGET', KEYS[2], 'state', 'reservation', 'deadline', 'amount')
if held[1] == 'open' or (held[1] == 'charged' and held[2]) then
  return {'REPLAY', budgets, rates, slots, held[2], held[3], held[4]}
end
-- Processes' clocks differ: one that is behind the first call of all is no sign of a loss.
local loss = tonumber(call.loss)
if #call.budgets > 0 and loss > 0 and tonumber(call.now) < tonumber(born) + loss then
  return {'LOST', budgets, rates, slots, string.format('%.0f', tonumber(born) + loss)}
end
if #cold > 0 then
  return {'COLD', budgets, rates, slots, cold}
end

local function counter(i)
  return first + i - 1
end
local function minute(i)
  return counter(#call.budgets + i)
end
local function slot(i)
  return minute(#call.rates + i)
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
for i, limit in ipairs(call.slots) do
  if slots[i][1] >= tonumber(limit) then
    return {'REFUSED', budgets, rates, slots, 'slots', i - 1, 0}
  end
end

local counters, tokens, places = {}, {}, {}
for i, budget in ipairs(call.budgets) do
  local name = KEYS[counter(i)]
  budgets[i][2] = string.format('%.0f', redis.call('HINCRBY', name, 'held', call.amount))
  if redis.call('PTTL', name) < tonumber(budget[2]) then
    redis.call('PEXPIRE', name, budget[2])
  end
  counters[i] = {name, nonces[i]}
end
for i, rate in ipairs(call.rates) do
  local name = KEYS[minute(i)]
  rates[i] = string.format('%.0f', redis.call('INCRBY', name, rate[2]))
  redis.call('PEXPIRE', name, 120000)
  if rate[3] then
    tokens[#tokens + 1] = {name, rate[2]}
  end
end
for i = 1, #call.slots do
  local name = KEYS[slot(i)]
  redis.call('ZADD', name, call.deadline, KEYS[2])
  redis.call('PEXPIRE', name, call.keep)
  slots[i][1] = slots[i][1] + 1
  places[i] = name
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'state', 'open', 'amount', call.amount, 'deadline', call.deadline,
  'reservation', call.reservation, 'key_id', call.key_id, 'request_id', call.request_id,
  'counters', cjson.encode(counters), 'tokens', cjson.encode(tokens), 'slots', cjson.encode(places))
redis.call('PEXPIRE', KEYS[2], call.open)
redis.call('ZADD', KEYS[3], call.deadline, KEYS[2])
return {'HELD', budgets, rates, slots}

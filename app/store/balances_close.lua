-- Close holds: charge what their calls have cost, or give back what they held. Each is closed once.
-- KEYS: all open holds. ARGV: the holds as JSON, and how long a closed one is remembered, in milliseconds.
-- A hold: its name; `amount`, a text, where it is charged; `tokens` used, if known; `deadline`, where only a hold
-- that is still open until then may be closed; `counters` of the charge and `inserted`, where the caller is the one
-- who has written it to the ledger. Answers what each is now, or 'kept'.
local function each(text, act)
  for _, entry in ipairs(cjson.decode(text or '[]')) do
    act(entry)
  end
end

local function add(name, amount)
  -- A counter that is not there is seeded later, from a ledger that holds the charge.
  if amount ~= '0' and redis.call('EXISTS', name) == 1 then
    redis.call('HINCRBY', name, 'used', amount)
    redis.call('HINCRBY', name, 'applied', amount)
  end
end

local function free(hold, amount, counters, slots)
  each(counters, function(counter)
    -- Another nonce is another counter of the same name, which never held this.
    if amount ~= '0' and redis.call('HGET', counter[1], 'nonce') == counter[2] then
      redis.call('HINCRBY', counter[1], 'held', '-' .. amount)
    end
  end)
  each(slots, function(name)
    redis.call('ZREM', name, hold)
  end)
  redis.call('ZREM', KEYS[1], hold)
end

local function settle_tokens(reserved, used)
  each(reserved, function(entry)
    if redis.call('EXISTS', entry[1]) == 1 then
      redis.call('INCRBY', entry[1], string.format('%.0f', used - tonumber(entry[2])))
    end
  end)
end

local answers = {}
for i, item in ipairs(cjson.decode(ARGV[1])) do
  local found = redis.call('HMGET', item.hold, 'state', 'amount', 'deadline', 'counters', 'tokens', 'slots')
  local state = found[1] or 'absent'
  local answer = state
  if item.deadline and (state ~= 'open' or found[3] ~= item.deadline) then
    answer = 'kept'
  elseif item.amount and state == 'absent' and not item.inserted then
    -- Whoever has written the charge may be on its way here: what is left in its place would keep it from adding.
    answer = 'absent'
  elseif item.amount and state ~= 'charged' then
    if state == 'open' then
      free(item.hold, found[2], found[4], found[6])
      if item.tokens then
        settle_tokens(found[5], item.tokens)
      end
    end
    if item.inserted then
      for _, name in ipairs(item.counters) do
        add(name, item.amount)
      end
    else
      each(found[4], function(counter)
        add(counter[1], item.amount)
      end)
    end
    redis.call('HSET', item.hold, 'state', 'charged')
    redis.call('PEXPIRE', item.hold, ARGV[2])
    answer = 'charged now'
  elseif not item.amount and state == 'open' then
    free(item.hold, found[2], found[4], found[6])
    settle_tokens(found[5], 0)
    redis.call('HSET', item.hold, 'state', 'released')
    redis.call('PEXPIRE', item.hold, ARGV[2])
    answer = 'released now'
  end
  answers[i] = answer
end
return answers

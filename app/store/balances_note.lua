-- Note how far counters have come, before their spend is read from the ledger.
-- KEYS: the counters. ARGV: a fresh nonce, '1' to make those that are absent, and their lifetime in milliseconds.
-- Answers {nonce, applied, number of this note} of each, or nothing for one that stays absent.
local answers = {}
for i, name in ipairs(KEYS) do
  local nonce = redis.call('HGET', name, 'nonce')
  if not nonce and ARGV[2] == '1' then
    nonce = ARGV[1]
    redis.call('DEL', name)
    redis.call('HSET', name, 'nonce', nonce, 'used', '0', 'held', '0', 'applied', '0', 'based', '0')
  end
  if nonce then
    local number = redis.call('HINCRBY', name, 'noted', 1)
    if redis.call('PTTL', name) < tonumber(ARGV[3]) then
      redis.call('PEXPIRE', name, ARGV[3])
    end
    answers[i] = {nonce, redis.call('HGET', name, 'applied'), string.format('%.0f', number)}
  else
    answers[i] = {}
  end
end
return answers

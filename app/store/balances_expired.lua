-- Holds that are past their deadline. KEYS: all open holds. ARGV: now in milliseconds, and how many at the most.
-- Answers {key id, request id, deadline} of each.
local answers = {}
for _, hold in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local found = redis.call('HMGET', hold, 'key_id', 'request_id', 'deadline')
  if found[1] then
    answers[#answers + 1] = found
  else
    redis.call('ZREM', KEYS[1], hold)
  end
end
return answers

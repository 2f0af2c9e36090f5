-- Let a hold that is open end later. KEYS: the hold, all open holds. ARGV: deadline, how long to keep
-- counters and slots, and how long an open hold.
-- Answers the hold's state and its deadline.
local found = redis.call('HMGET', KEYS[1], 'state', 'deadline', 'counters', 'slots')
if found[1] ~= 'open' then
  return {found[1] or 'absent', '0'}
end
if tonumber(ARGV[1]) <= tonumber(found[2]) then
  return {'open', found[2]}
end
redis.call('HSET', KEYS[1], 'deadline', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[1], KEYS[1])
for _, name in ipairs(cjson.decode(found[4])) do
  redis.call('ZADD', name, 'XX', ARGV[1], KEYS[1])
  redis.call('PEXPIRE', name, ARGV[2])
end
for _, counter in ipairs(cjson.decode(found[3])) do
  if redis.call('PTTL', counter[1]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', counter[1], ARGV[2])
  end
end
return {'open', ARGV[1]}

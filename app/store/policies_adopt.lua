-- Give every entity a version token where it has none, and tell them.
-- KEYS: the entities' hashes. ARGV: fresh token, lifetime in milliseconds.
-- Answers {1 where a mark stands on any of them, else 0; token, token, ...}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {0}
for _, key in ipairs(KEYS) do
  local token = false
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if fields[i] == 'token' then
      token = fields[i + 1]
    elseif tonumber(fields[i + 1]) > now then
      answer[1] = 1
    else
      redis.call('HDEL', key, fields[i])
      redis.call('HSET', key, 'token', ARGV[1])
      token = ARGV[1]
    end
  end
  -- HGETALL gives no order: a token read after a lapsed mark was handled is the replaced one.
  token = redis.call('HGET', key, 'token') or token
  if not token then
    redis.call('HSET', key, 'token', ARGV[1])
    token = ARGV[1]
  end
  redis.call('PEXPIRE', key, ARGV[2])
  answer[#answer + 1] = token
end
return answer

-- Compare the tokens that a snapshot was cached under with the present ones.
-- KEYS: the entities' hashes. ARGV: fresh token, then the cached token of each entity.
-- A mark that stands means DIRTY; a lapsed mark is taken off and the token replaced; a token that differs or is
-- absent means STALE; else FRESH.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dirty, stale = false, false
for i, key in ipairs(KEYS) do
  local token = false
  local fields = redis.call('HGETALL', key)
  for j = 1, #fields, 2 do
    if fields[j] == 'token' then
      token = fields[j + 1]
    elseif tonumber(fields[j + 1]) > now then
      dirty = true
    else
      redis.call('HDEL', key, fields[j])
      redis.call('HSET', key, 'token', ARGV[1])
      stale = true
    end
  end
  if token ~= ARGV[i + 1] then
    stale = true
  end
end
if dirty then
  return 'DIRTY'
end
return stale and 'STALE' or 'FRESH'

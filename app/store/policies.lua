-- How fresh a snapshot is, by the tokens that it was cached under; `keys` from `first` on are its entities' hashes.
-- A mark that stands means DIRTY; a lapsed mark is taken off and the token replaced by the fresh one; a token that
-- differs or is absent means STALE; else FRESH.
local function freshness(keys, first, tokens, fresh)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local dirty, stale = false, false
  for i, expected in ipairs(tokens) do
    local key = keys[first + i - 1]
    local token = false
    local fields = redis.call('HGETALL', key)
    for j = 1, #fields, 2 do
      if fields[j] == 'token' then
        token = fields[j + 1]
      elseif tonumber(fields[j + 1]) > now then
        dirty = true
      else
        redis.call('HDEL', key, fields[j])
        redis.call('HSET', key, 'token', fresh)
        stale = true
      end
    end
    if token ~= expected then
      stale = true
    end
  end
  if dirty then
    return 'DIRTY'
  end
  return stale and 'STALE' or 'FRESH'
end

-- Announce a change: until the deadline, nobody decides from a cached copy of these entities.
-- KEYS: the entities' hashes. ARGV: mark, length of the mark and lifetime of the hash, in milliseconds.
local time = redis.call('TIME')
local deadline = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
for _, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[1], string.format('%.0f', deadline))
  redis.call('PEXPIRE', key, ARGV[3])
end
return #KEYS

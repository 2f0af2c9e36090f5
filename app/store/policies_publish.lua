-- Make every cached copy of these entities stale and take the writer's own mark off.
-- KEYS: the entities' hashes. ARGV: mark, fresh token, lifetime of the hash in milliseconds.
for _, key in ipairs(KEYS) do
  redis.call('HDEL', key, ARGV[1])
  redis.call('HSET', key, 'token', ARGV[2])
  redis.call('PEXPIRE', key, ARGV[3])
end
return #KEYS

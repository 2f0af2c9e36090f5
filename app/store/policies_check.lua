-- Compare the tokens that a snapshot was cached under with the present ones.
-- KEYS: the entities' hashes. ARGV: fresh token, then the cached token of each entity.
return freshness(KEYS, 1, {unpack(ARGV, 2)}, ARGV[1])

-- How full limits are, without holding anything.
-- KEYS: budgets' counters, rates, slots. ARGV: now in milliseconds, how many budgets, how many rates.
local budgets, rates, slots = numbers(KEYS, 1, tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[1])
return {budgets, rates, slots}

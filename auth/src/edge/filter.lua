#!lua flags=allow-oom
-- Notes a proof in the filter, which may exceed the memory limit by its own fixed size.
-- KEYS and ARGV as the first of admit.lua; gives 1 for a first use, 0 for another.
local span = tonumber(ARGV[2])
local generation = math.floor(redis.call('TIME')[1] / span)
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local before, held = KEYS[2] .. (generation - 1), true
for place = 3, 6 do
  if redis.call('GETBIT', before, ARGV[place]) == 0 then held = false break end
end
if held then return 0 end
local filter, fresh = KEYS[2] .. generation, 0
for place = 3, 6 do
  if redis.call('SETBIT', filter, ARGV[place], 1) == 0 then fresh = 1 end
end
redis.call('EXPIRE', filter, span * 2 + 1)
return fresh

#!lua flags=allow-oom
-- Records a proof in the Bloom filter, which may exceed the memory limit by its fixed size.
-- KEYS 1-2 and ARGV 1-6 as in admit.lua. Returns 1 if the proof is fresh, else 0.
local span = tonumber(ARGV[2])
local generation = math.floor(redis.call('TIME')[1] / span)
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local before, held = KEYS[2] .. (generation - 1), true
for position = 3, 6 do
  if redis.call('GETBIT', before, ARGV[position]) == 0 then held = false break end
end
if held then return 0 end
local filter, fresh = KEYS[2] .. generation, 0
for position = 3, 6 do
  if redis.call('SETBIT', filter, ARGV[position], 1) == 0 then fresh = 1 end
end
redis.call('EXPIRE', filter, span * 2 + 1)
return fresh

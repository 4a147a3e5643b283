-- Finds or opens a request's session, consumes its proof and extends the session, in one round trip.
--
-- KEYS  1 key of the proof, 2 key prefix of the Bloom filters, 3 key of the device's session id, 4 key
--       prefix of the tenant's sessions; 3 and 4 are absent when no session is requested
-- ARGV  1 ms to remember the proof, 2 lifetime of a filter generation in s, 3-6 bit positions in the
--       filter, 7 '1' to consume the proof or '0' to peek, 8 the session id in the token or '', 9 the
--       id for a new session, 10 operator, 11 device, 12 thumbprint, 13 issue time of the token in s,
--       14 now in ms, 15 lifetime of a session in ms, 16 ms between extensions, then the names and
--       values of details
-- Returns a code (1 fresh, 0 used, -1 out of memory, 2 another caller's session, 3 session ended,
-- 4 peeked), the session id, its opening time in ms, and 1 if it was opened now.
local id, opened, seen, superseded, changed = '', false, 0, false, false
if #KEYS == 4 then
  local named = ARGV[8] ~= ''
  id = named and ARGV[8] or redis.call('GET', KEYS[3]) or ''
  if id ~= '' then
    local fields = {'operator', 'device', 'thumbprint', 'openedAt', 'lastSeen', 'endedAt'}
    for at = 17, #ARGV, 2 do fields[#fields + 1] = ARGV[at] end
    local held = redis.call('HMGET', KEYS[4] .. id, unpack(fields))
    if held[6] then
      if named or tonumber(ARGV[13]) <= tonumber(held[6]) then return {3, id, 0, 0} end
      id = ''
    elseif not held[1] then
      if not named then id = '' end
    elseif held[1] == ARGV[10] and held[2] == ARGV[11] and held[3] == ARGV[12] then
      opened, seen = held[4], tonumber(held[5])
      for at = 17, #ARGV, 2 do
        if held[7 + (at - 17) / 2] ~= ARGV[at + 1] then changed = true end
      end
    elseif named then
      return {2, id, 0, 0}
    else
      superseded, id = id, ''
    end
  end
  if id == '' then id = ARGV[9] end
  if ARGV[7] == '0' then return {4, id, opened or 0, 0} end
end

-- Recorded exactly, unless a filter of the last two generations may contain it. Generations follow
-- the clock of Redis, which all instances share.
local span = tonumber(ARGV[2])
local generation = math.floor(redis.call('TIME')[1] / span)
for back = 0, 1 do
  local filter, held = KEYS[2] .. (generation - back), true
  for position = 3, 6 do
    if redis.call('GETBIT', filter, ARGV[position]) == 0 then held = false break end
  end
  if held then return {0, id, 0, 0} end
end
local noted = redis.pcall('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1])
if not noted then return {0, id, 0, 0} end
if noted.err then
  -- Out of memory: the request continues with the session as it is; the filter checks the proof.
  if string.find(noted.err, 'OOM', 1, true) then return {-1, id, opened or ARGV[14] or 0, 0} end
  return noted
end
if #KEYS == 2 then return {1, '', 0, 0} end

-- pcall: a session that cannot be written does not fail the request.
local session, ttl = KEYS[4] .. id, ARGV[15]
if not opened then
  local made = redis.pcall('HSET', session, 'operator', ARGV[10], 'device', ARGV[11],
    'thumbprint', ARGV[12], 'openedAt', ARGV[14], 'lastSeen', ARGV[14], unpack(ARGV, 17))
  if type(made) == 'table' and made.err then return {1, id, ARGV[14], 0} end
  if superseded then redis.pcall('DEL', KEYS[4] .. superseded) end
elseif changed or tonumber(ARGV[14]) - seen >= tonumber(ARGV[16]) then
  redis.pcall('HSET', session, 'lastSeen', ARGV[14], unpack(ARGV, 17))
else
  return {1, id, opened, 0}
end
redis.pcall('PEXPIRE', session, ttl)
redis.pcall('SET', KEYS[3], id, 'PX', ttl)
return {1, id, opened or ARGV[14], opened and 0 or 1}

-- The log that processes share: one call of one client, done at once or not at all.
-- It orders events, stamps them with one clock, and keeps leases. It decides nothing about turns.
--
-- KEYS: head (hash), log (stream), leases (sorted set: client -> microseconds)
-- ARGV: what to do, epoch, position, client, lease in microseconds, then what is said below.

local head, log, leases = KEYS[1], KEYS[2], KEYS[3]
local verb, epoch, position, client, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local KEPT = 3600000 -- an unused scheduler leaves the server after an hour

local function digits(number) return string.format('%.0f', number) end
local function number_of(id) return tonumber(string.match(id, '^(%d+)-')) end

local known = redis.call('HMGET', head, 'epoch', 'last', 'heard', 'rules', 'saved', 'ahead')
local started, last, heard, rules, saved = known[1], known[2], known[3], known[4], known[5]
local time = redis.call('TIME')
local ahead = tonumber(known[6] or 0) -- of the server's clock, which may have been put back: then time goes on from there
local now = tonumber(time[1]) * 1000000 + tonumber(time[2]) + ahead
if heard and tonumber(heard) > now then
  ahead = ahead + tonumber(heard) - now
  now = tonumber(heard)
end

local function write(writer, body)
  last = digits(number_of(last) + 1) .. '-' .. digits(now)
  redis.call('XADD', log, last, 'c', writer, 'b', body)
  return last
end

local function done()
  redis.call('HSET', head, 'last', last, 'heard', digits(now), 'ahead', digits(ahead))
  redis.call('PEXPIRE', head, KEPT)
  redis.call('PEXPIRE', log, KEPT)
  redis.call('PEXPIRE', leases, KEPT)
end

local function end_of(gone)
  redis.call('ZREM', leases, gone)
  local attempt = redis.call('HGET', head, 'a:' .. gone)
  if attempt then redis.call('HDEL', head, 'j:' .. attempt) end
  redis.call('HDEL', head, 'n:' .. gone, 'a:' .. gone)
  write('', '{"e":0,"do":[["gone","' .. gone .. '"]]}')
end

-- Leases stand still while nobody is heard, as when the server was down: nobody else could take a slot then.
local function sweep()
  if redis.call('EXISTS', leases) == 0 then -- evicted or deleted, and with it who is to be ended, and when
    for _, field in ipairs(redis.call('HKEYS', head)) do
      local lives = string.match(field, '^a:(.*)$')
      if lives then redis.call('ZADD', leases, digits(now + lease), lives) end
    end
  end
  local silence = now - tonumber(heard)
  if silence > lease / 2 then
    local all = redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do redis.call('ZADD', leases, digits(tonumber(all[i + 1]) + silence), all[i]) end
  end
  for _, late in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', digits(now))) do end_of(late) end
end

local function is_whole()
  local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  return newest[1] and newest[1][1] == last
end

-- Whether what the caller has read is still what is here: 'here', 'behind' what was trimmed, or 'lost'.
local function place()
  if not started or started ~= epoch then return 'lost' end
  if redis.call('XRANGE', log, position, position)[1] then return 'here' end
  if saved and number_of(position) < number_of(saved) and is_whole() then return 'behind' end
  return 'lost'
end

local function since(from)
  if from == '' then return redis.call('XRANGE', log, '-', '+') end
  return redis.call('XRANGE', log, '(' .. from, '+')
end

local function snapshot()
  local state = saved and redis.call('HGET', head, 'state')
  return {'loaded', digits(now), client, started, saved or '', state or '', since(saved or '')}
end

local function wipe()
  redis.call('DEL', head, log, leases)
  started, saved = false, false
end

-- join: rules, the attempt's name, then bodies of turns that go on; `client` is who one was before, or ''.
local function join()
  local before, attempt = client, ARGV[7]
  if started and not is_whole() then wipe() end
  if started then sweep() end
  local answered = before ~= '' and redis.call('HGET', head, 'j:' .. attempt)
  if answered then before = answered end -- it was sent twice: who one became then is who one was before
  if started and rules ~= ARGV[6] then
    if redis.call('ZCARD', leases) > 0 then done() return {'rules', rules} end
    wipe()
  end
  local lost = before ~= '' and place() == 'lost'
  if before ~= '' and not lost and not redis.call('ZSCORE', leases, before) then done() return {'expired'} end
  if not started then
    wipe()
    last = digits(now) .. '-0' -- so that numbers rise, also after everything was lost
  end
  client = write('', '{"e":0,"do":[]}')
  if not started then
    started = client
    redis.call('HSET', head, 'epoch', started, 'rules', ARGV[6])
  end
  redis.call('ZADD', leases, digits(now + lease), client)
  redis.call('HSET', head, 'j:' .. attempt, client, 'a:' .. client, attempt)
  local open_at = tonumber(string.match(started, '-(%d+)$')) + lease
  if lost and now < open_at then -- a new log: first let all say what they run
    write('', '{"e":0,"do":[["pause",' .. string.format('%.6f', open_at / 1000000) .. ']]}')
  end
  for i = 8, #ARGV do write(client, ARGV[i]) end
  if before ~= '' and redis.call('ZSCORE', leases, before) then end_of(before) end
  done()
  return snapshot()
end

-- append: number of the batch, position that must be the last one or '', then bodies.
local function append()
  local where = place()
  if where == 'lost' then return {'lost'} end
  sweep()
  if not redis.call('ZSCORE', leases, client) then done() return {'expired'} end
  redis.call('ZADD', leases, digits(now + lease), client)
  if ARGV[7] == '' then
    if tonumber(ARGV[6]) > tonumber(redis.call('HGET', head, 'n:' .. client) or 0) then -- else it was sent twice
      for i = 8, #ARGV do write(client, ARGV[i]) end
      redis.call('HSET', head, 'n:' .. client, ARGV[6])
    end
  elseif ARGV[7] == last then
    for i = 8, #ARGV do write(client, ARGV[i]) end
  end
  done()
  if where == 'behind' then return snapshot() end
  return {'read', digits(now), since(position)}
end

-- save: the state at `position`; what is older is not needed any more.
local function save()
  if place() == 'here' and number_of(position) > (saved and number_of(saved) or 0) then
    redis.call('HSET', head, 'saved', position, 'state', ARGV[6])
    redis.call('XTRIM', log, 'MINID', position)
  end
  return {'saved'}
end

local function leave()
  if started == epoch and redis.call('ZSCORE', leases, client) then
    end_of(client)
    done()
  end
  return {'left'}
end

return ({join = join, append = append, save = save, leave = leave})[verb]()

// The Lua of the directory on Redis. Time is the server's alone. Per role there are: `leases` (member → when its lease ends), `live` (member →
// record, written only when it changes, so that renewals disturb no cache), `seen` (host → last renewal, kept of the dead), `owners` (host →
// the member that was announced last) and `version`, which changes with `live` and is what readers cache.

const common = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local leases, live, seen, owners, version = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local function changed()
  if redis.call('EXISTS', version) == 0 then redis.call('SET', version, string.format('%d%06d', t[1], t[2])) end
  redis.call('INCR', version)
end
local function reap()
  local dead = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 1000)
  if #dead == 0 then return end
  redis.call('ZREM', leases, unpack(dead))
  if redis.call('HDEL', live, unpack(dead)) > 0 then changed() end
end
`;

/** ARGV: lease in ms, member, host, epoch, record. 1: announced; 0: a later start of the same host's service is there. */
export const announceScript = `${common}
local member, host, epoch = ARGV[2], ARGV[3], tonumber(ARGV[4])
reap()
local owner = redis.call('HGET', owners, host)
if owner and owner ~= member and epoch > 0 then
  local record = redis.call('HGET', live, owner)
  local other = record and cjson.decode(record).epoch or 0
  if other > epoch then return 0 end
  if other > 0 and other < epoch then
    redis.call('ZREM', leases, owner)
    redis.call('HDEL', live, owner)
    changed()
  end
end
redis.call('HSET', owners, host, member)
redis.call('ZADD', leases, now + ARGV[1], member)
redis.call('ZADD', seen, now, host)
if redis.call('HGET', live, member) ~= ARGV[5] then
  redis.call('HSET', live, member, ARGV[5])
  changed()
end
return 1`;

/** ARGV: lease in ms, then member and host by turns. Returns the positions (from 1) of those that are to be announced anew. */
export const renewScript = `${common}
local missing = {}
reap()
for i = 2, #ARGV, 2 do
  if redis.call('HEXISTS', live, ARGV[i]) == 1 then
    redis.call('ZADD', leases, now + ARGV[1], ARGV[i])
    redis.call('ZADD', seen, now, ARGV[i + 1])
  else
    table.insert(missing, i / 2)
  end
end
return missing`;

/** ARGV: member, host. */
export const withdrawScript = `${common}
redis.call('ZREM', leases, ARGV[1])
if redis.call('HDEL', live, ARGV[1]) > 0 then changed() end
if redis.call('HGET', owners, ARGV[2]) == ARGV[1] then
  redis.call('HDEL', owners, ARGV[2])
  redis.call('ZREM', seen, ARGV[2])
end
return 1`;

/** ARGV: host. */
export const forgetScript = `${common}
redis.call('ZREM', seen, ARGV[1])
redis.call('HDEL', owners, ARGV[1])
for _, member in ipairs(redis.call('HKEYS', live)) do
  local record = redis.call('HGET', live, member)
  if cjson.decode(record).host == ARGV[1] then
    redis.call('ZREM', leases, member)
    redis.call('HDEL', live, member)
    changed()
  end
end
return 1`;

/** Moves out whose lease has ended. */
export const reapScript = `${common}
reap()
return 1`;

/** The version and the records that belong to it, as they are at one moment. */
export const servicesScript = `${common}
reap()
return { redis.call('GET', version) or '', redis.call('HVALS', live) }`;

/** Host and age in ms by turns, as text. */
export const lastSeenScript = `${common}
local rows = redis.call('ZRANGE', seen, 0, -1, 'WITHSCORES')
for i = 2, #rows, 2 do rows[i] = string.format('%d', now - tonumber(rows[i])) end
return rows`;

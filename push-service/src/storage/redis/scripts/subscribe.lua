-- Makes a subscription, or finds the one of that name; makes the record with the first one.
--
-- ARGV: 3 name, 4 a fresh id, 5 the application server's key or nothing, 6 the seat to take or nothing, 7 packed: how many
-- subscriptions there may be, retention in ms, the same for an unused record, grains of both, whether only a known user agent
-- is meant.
-- Answers C or K and the id: created, kept; M: as many as there may be; U: the user agent is not known.
local name, fresh, key, mine = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local most, retention_ms, unused_ms, grains, only_known = struct.unpack('>I4I6I6I4B', ARGV[7])

local found = redis.call('HMGET', RECORD, 'm', 'n' .. name)
local why = open(found[1])
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
if why and only_known == 1 then
    return 'U'
end
local before
if why then
    last, messages, bytes, earliest, kept, attached_since, attaches = 0, 0, 0, 0, 0, 0, 0
    seat = mine ~= '' and mine or NOBODY
    before = redis.call('HGET', OUTBOX, LAST)
    if before then
        last = struct.unpack('>I8', before)
    end
    retained = 0
    unused = unused_ms < retention_ms
    found[2] = false
end
if unused then
    retention_ms = math.min(retention_ms, unused_ms)
end
local answer
if found[2] then
    answer = 'K' .. found[2]:sub(1, 8)
    renew(retention_ms, grains, retention_ms)
    redis.call('HSET', RECORD, 'm', meta())
elseif (why and 0 or (redis.call('HLEN', RECORD) - 1) / 2) >= most then
    return 'M'
else
    answer = 'C' .. fresh
    local created = struct.pack('>c8I4', fresh, math.floor(now_us / 1000000))
    if why then
        -- The retention is set from the first moment: with less the record would count as expired.
        retained = now_ms + retention_ms
    end
    redis.call('HSET', RECORD, 'm', meta(), 'n' .. name, created .. key,
        's' .. fresh, struct.pack(SUBSCRIPTION, name, 0, 0))
    if before then
        redis.call('HDEL', OUTBOX, LAST)
    end
    if why then
        retained = 0
    end
    renew(retention_ms, grains, retention_ms)
    redis.call('HSET', RECORD, 'm', meta())
end
return answer

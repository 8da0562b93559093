-- Writes down that a receipt will be owed, before its message is stored.
--
-- ARGV: 3 user agent and nonce, 4 dialect and sealing key, 5 packed: after how many ms it is asked after, how many may be
-- owed and wait, for how many ms the receipt subscription is kept from now on, its grains.
-- Answers N no receipt subscription, M as many as may be, E expected.
local message, url = ARGV[3], ARGV[4]
local within_ms, limit, kept_ms, grains = struct.unpack('>I6I4I6I4', ARGV[5])

local found = redis.call('HMGET', RECORD, 'm', SUBSCRIBED)
local why = open(found[1])
if why then
    return without_record(why, 'N')
end
if not found[2] then
    return 'N'
end
local is_new = redis.call('HEXISTS', EXPECTED, message) == 0
if is_new and redis.call('HLEN', EXPECTED) + messages >= limit then
    return 'M'
end
put_expected(message, url, now_ms + within_ms)
local before, was_unused = retained, unused
unused = false
retain(kept_ms, grains)
if retained ~= before or was_unused then
    redis.call('HSET', RECORD, 'm', meta())
end
return 'E'

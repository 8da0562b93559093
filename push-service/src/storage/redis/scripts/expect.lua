-- Records that a receipt is expected, before its message is stored.
--
-- ARGV: 3 user agent and nonce, 4 what the URL of the receipt is made of, 5 numbers: EXPECT.
-- Answers NO_SUBSCRIPTION (there is no such receipt subscription), TOO_MANY or EXPECTED.
local message, url = ARGV[3], ARGV[4]
local within_ms, limit, kept_ms, grains = struct.unpack(layout.EXPECT, ARGV[5])

local found = redis.call('HMGET', RECORD, 'm', SUBSCRIBED)
local why = open_record(found[1])
if why then
    return without_record(why, layout.NO_SUBSCRIPTION)
end
if not found[2] then
    return layout.NO_SUBSCRIPTION
end
local is_new = redis.call('HEXISTS', EXPECTED, message) == 0
if is_new and redis.call('HLEN', EXPECTED) + messages >= limit then
    return layout.TOO_MANY
end
put_expected(message, url, now_ms + within_ms)
local before, was_unused = retained, unused
unused = false
retain(kept_ms, grains)
if retained ~= before or was_unused then
    redis.call('HSET', RECORD, 'm', meta())
end
return layout.EXPECTED

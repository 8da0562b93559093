-- Takes out of the outbox what was carried over.
--
-- ARGV: 3 ids, 16 bytes each.
local ids = ARGV[3]

local why = open(redis.call('HGET', RECORD, 'm'))
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
for at = 1, #ids, 16 do
    local id, nonce = struct.unpack('>I8c8', ids, at)
    local owed = redis.call('HGET', OUTBOX, nonce)
    if owed then
        local number, _, _, fate = struct.unpack(OWED, owed)
        if number == id and fate ~= WAITING then
            redis.call('HDEL', OUTBOX, nonce)
            redis.call('ZREM', DUES, nonce)
        end
    end
end
owing()
return 1

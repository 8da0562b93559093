-- Takes out of the outbox what was relayed.
--
-- ARGV: 3 ids.
local ids = ARGV[3]

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
for at = 1, #ids, layout.MESSAGE_ID_BYTES do
    local id, nonce = struct.unpack(layout.MESSAGE_ID, ids, at)
    local owed = redis.call('HGET', OUTBOX, nonce)
    if owed then
        local number, _, _, outcome = struct.unpack(layout.OWED, owed)
        if number == id and outcome ~= WAITING then
            redis.call('HDEL', OUTBOX, nonce)
            redis.call('ZREM', DUES, nonce)
        end
    end
end
owing()
return 1

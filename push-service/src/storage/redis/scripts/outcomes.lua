-- What waits in the outbox, in the order of acceptance. What has expired is given up first.
--
-- ARGV: 3 how many at most.
-- Answers a byte that says whether something expired, and the outcomes, each OUTCOME.
local limit = tonumber(ARGV[3])

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
local expired = give_up_expired(STEP)
local found = {}
local nonces = redis.call('ZRANGEBYSCORE', DUES, '-inf', '(0', 'LIMIT', 0, limit)
if #nonces > 0 then
    for at, owed in ipairs(redis.call('HMGET', OUTBOX, unpack(nonces))) do
        if not owed then
            redis.call('ZREM', DUES, nonces[at])
        else
            local number, receipts, _, outcome = struct.unpack(layout.OWED, owed)
            found[#found + 1] = struct.pack(layout.OUTCOME, receipts, number, nonces[at], outcome)
        end
    end
    write_nothing()
else
    -- Then this user agent need not be asked again before something is due.
    owing()
end
return string.char(expired > 0 and 1 or 0) .. table.concat(found)

-- What is known here of a message that a receipt is owed for.
--
-- ARGV: 3 its nonce.
-- Answers nothing, WAITS, or OUTCOME.
local nonce = ARGV[3]

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
local owed = redis.call('HGET', OUTBOX, nonce)
if not owed then
    write_nothing()
    return false
end
local _, _, sub, outcome, expires = struct.unpack(layout.OWED, owed)
if outcome == WAITING then
    if expires > now_ms and not why and redis.call('HEXISTS', RECORD, 's' .. sub) == 1 then
        return layout.WAITS
    end
    owe(nonce, GIVEN_UP)
    owed = redis.call('HGET', OUTBOX, nonce)
end
write_nothing()
local number, receipts
number, receipts, sub, outcome = struct.unpack(layout.OWED, owed)
return struct.pack(layout.OUTCOME, receipts, number, nonce, outcome)

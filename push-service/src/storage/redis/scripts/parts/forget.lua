-- Removes the record, with its messages and expected receipts. Messages for which a receipt was requested are given up, at most
-- STEP of them; sweeps or their expiry do the rest. The last number stays with the outbox, so that no number is used twice.
local function forget()
    if redis.call('EXISTS', OUTBOX) == 1 then
        redis.call('HSET', OUTBOX, LAST, struct.pack(layout.NUMBER, last))
    end
    -- Without the record everything has ended: if the step is aborted, the remaining keys expire.
    redis.call('UNLINK', RECORD)
    --+ drop_queue
    redis.call('UNLINK', EXPECTED)
    give_up_waiting(0, '+inf', STEP)
end

-- Gives up messages with TTL 0 of a subscription that has ended. They are few, and no sweep finds them.
local function give_up_passing(id)
    local nonces = redis.call('ZRANGEBYSCORE', DUES, MARKER, '+inf', 'LIMIT', 0, STEP)
    for _, nonce in ipairs(nonces) do
        local owed = redis.call('HGET', OUTBOX, nonce)
        if owed and owed:sub(layout.OWED_ID_AT, layout.OWED_ID_AT + layout.ID_BYTES - 1) == id then
            owe(nonce, GIVEN_UP)
        end
    end
end

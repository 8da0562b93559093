-- Messages that are passed on and not stored: for as long as an acknowledgement may take, the outbox alone knows of them.

-- Remembers one that a receipt is asked for, if a session has the seat and can acknowledge it, and if not too many are
-- remembered.
local function pass(nonce, receipts, sub)
    local most = redis.call('ZRANGEBYSCORE', DUES, MARKER + now_ms, '+inf', 'LIMIT', PASSING_MOST - 1, 1)
    local is_over = seat == NO_SEAT or #most > 0
    expect_outcome(nonce, PASSING, receipts, sub, is_over and GIVEN_UP or WAITING, now_ms + PASSING_MS)
end

-- Takes an acknowledgement; answers whether it came in time.
local function acknowledge_passing(nonce, outcome)
    local owed = redis.call('HGET', OUTBOX, nonce)
    if not owed then
        return false
    end
    local number, _, _, before, expires = struct.unpack(layout.OWED, owed)
    if number ~= PASSING or before ~= WAITING then
        return false
    end
    owe(nonce, expires > now_ms and outcome or GIVEN_UP)
    return expires > now_ms
end

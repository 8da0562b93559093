-- The outbox: how the messages ended that a receipt was asked for, until nodes have relayed it (PR-25).
--
-- An entry is written with its message, because Redis lets index and bodies expire without a word. It holds by nonce:
-- number, receipt subscription, subscription, outcome (or WAITING), expiry. The first outcome stays. DUES orders the entries by score: below
-- zero those that ended, by number, and behind them what was passed on, by time; then those that wait, by expiry, and above
-- MARKER what was passed on and waits. An outbox that outlives its record keeps its last number, in the field LAST.
local LAST = 'l'
local MARKER, PASSED, NUMBERED = 2 ^ 50, 2 ^ 52, 2 ^ 53

-- So that entries of an aborted step are found by time: a waiting entry is written to DUES first, an ended one to
-- OUTBOX first. `write` runs the commands that write; without it the keys exist, and have an expiry.
local function put_owed(nonce, number, receipts, sub, outcome, expires, write)
    write = write or redis.call
    local owed = struct.pack(layout.OWED, number, receipts, sub, outcome, expires)
    if outcome ~= WAITING then
        write('HSET', OUTBOX, nonce, owed)
        local place = number - NUMBERED
        if number == PASSING then
            local newest = redis.call('ZRANGE', DUES, '(0', -PASSED, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
            place = math.max(now_us - PASSED, newest and newest + 1 or -PASSED)
        end
        write('ZADD', DUES, place, nonce)
        write('ZADD', OWING, 0, RECORD:sub(-32))
        owes = true
    else
        write('ZADD', DUES, number == PASSING and MARKER + expires or expires, nonce)
        write('ZADD', OWING, 'LT', expires, RECORD:sub(-32))
        write('HSET', OUTBOX, nonce, owed)
    end
end

-- Records how a message ended. The first outcome stays; without an entry nothing is owed any more.
local function owe(nonce, outcome)
    local owed = redis.call('HGET', OUTBOX, nonce)
    if owed then
        local number, receipts, sub, before, expires = struct.unpack(layout.OWED, owed)
        if before == WAITING then
            put_owed(nonce, number, receipts, sub, outcome, expires)
        else
            -- It ended, but may still be among the waiting entries.
            redis.call('ZADD', DUES, 'LT', number == PASSING and now_us - PASSED or number - NUMBERED, nonce)
        end
    else
        redis.call('ZREM', DUES, nonce)
    end
end

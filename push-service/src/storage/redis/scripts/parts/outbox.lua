-- The outbox: what became of the messages that a receipt was asked for, until nodes have carried it over (PR-25).
--
-- An entry is written with its message, because Redis lets index and bodies expire without a word. It holds by nonce:
-- number, receipt subscription, subscription, fate, expiry. The first fate stays. DUES orders the entries by score: below
-- zero those that ended, by number, and behind them what was passed on, by time; then those that wait, by expiry, and above
-- MARKER what was passed on and waits.
--
-- Most messages have no entry, and most steps don't name these keys: they are spelled here when one is met.
local OUTBOX = KEYS[5] or MARK .. ':o' .. RECORD:sub(-33)
local DUES = KEYS[6] or MARK .. ':d' .. RECORD:sub(-33)
local OWING = KEYS[7] or MARK .. ':owing'
local OWED = '>I8c16c8BI6'
local WAITING, ACKNOWLEDGED, GIVEN_UP, REPLACED = 0, 1, 2, 3
local MARKER, PASSED, NUMBERED = 2 ^ 50, 2 ^ 52, 2 ^ 53

-- Whether this step has put an outcome there.
local owes = false

-- How an entry says that its message ended, or WAITING.
local function fate_of(owed)
    return owed:byte(33)
end

-- Keeps a key for at least so long.
local function keep(key, ms)
    if redis.call('PTTL', key) < ms then
        redis.call('PEXPIRE', key, ms + math.floor(ms / 8))
    end
end

local function put_owed(nonce, number, receipts, sub, fate, expires)
    redis.call('HSET', OUTBOX, nonce, struct.pack(OWED, number, receipts, sub, fate, expires))
    if fate ~= WAITING then
        local place = number - NUMBERED
        if number == PASSING then
            local newest = redis.call('ZRANGE', DUES, '(0', -PASSED, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
            place = math.max(now_us - PASSED, newest and newest + 1 or -PASSED)
        end
        redis.call('ZADD', DUES, place, nonce)
        redis.call('ZADD', OWING, 0, RECORD:sub(-32))
        owes = true
    else
        redis.call('ZADD', DUES, number == PASSING and MARKER + expires or expires, nonce)
        redis.call('ZADD', OWING, 'LT', expires, RECORD:sub(-32))
    end
end

-- A new entry. It outlives its message, so that nodes that were all away still find what became of it.
local function expect_fate(nonce, number, receipts, sub, fate, expires)
    put_owed(nonce, number, receipts, sub, fate, expires)
    for _, key in ipairs({ OUTBOX, DUES, OWING }) do
        keep(key, expires - now_ms + OUTBOX_KEPT_MS)
    end
end

-- What became of a message. The first outcome stays; without an entry nothing is owed any more.
local function owe(nonce, fate)
    local owed = redis.call('HGET', OUTBOX, nonce)
    if owed then
        local number, receipts, sub, before, expires = struct.unpack(OWED, owed)
        if before == WAITING then
            put_owed(nonce, number, receipts, sub, fate, expires)
        end
    else
        redis.call('ZREM', DUES, nonce)
    end
end

-- For steps that don't name these keys, before they write anything: while their slot moves to another server the outbox
-- may be at the other one. Answers the error with which the step is sent again.
local function away()
    local there = redis.pcall('EXISTS', OUTBOX, DUES, OWING)
    if type(there) == 'table' and there.err then
        return redis.error_reply('TRYAGAIN the outbox is on its way to another server')
    end
end

-- Gives up what waits from score `from` to `to`, a bounded number; answers how many.
local function give_up_waiting(from, to, limit)
    local nonces = redis.call('ZRANGEBYSCORE', DUES, from, to, 'LIMIT', 0, limit)
    for _, nonce in ipairs(nonces) do
        owe(nonce, GIVEN_UP)
    end
    return #nonces
end

-- Gives up what has expired, whether or not its message was swept; answers how many.
local function give_up_expired(limit)
    local stored = give_up_waiting(0, now_ms, limit)
    return stored + give_up_waiting(MARKER, MARKER + now_ms, limit - stored)
end

-- Says when the outbox has something to carry, after something left it.
local function owing()
    local first = tonumber(redis.call('ZRANGEBYSCORE', DUES, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
    if not first then
        redis.call('ZREM', OWING, RECORD:sub(-32))
        return
    end
    -- Those that were passed on stand behind the others, and may be due before.
    local passed = tonumber(redis.call('ZRANGEBYSCORE', DUES, MARKER, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
    local due = passed and math.min(first, passed - MARKER) or first
    redis.call('ZADD', OWING, math.max(due, 0), RECORD:sub(-32))
end

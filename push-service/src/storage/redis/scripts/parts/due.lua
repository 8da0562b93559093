-- What expires in an outbox.

-- How an entry says that its message ended, or WAITING.
local function outcome_of(owed)
    return owed:byte(layout.OWED_OUTCOME_AT)
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

-- Says when the outbox has something to relay, after something left it.
local function owing()
    local first = tonumber(redis.call('ZRANGEBYSCORE', DUES, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
    if not first then
        redis.call('UNLINK', OUTBOX)
        redis.call('ZREM', OWING, RECORD:sub(-32))
        return
    end
    -- Those that were passed on stand behind the others, and may be due before.
    local passed = tonumber(redis.call('ZRANGEBYSCORE', DUES, MARKER, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
    local due = passed and math.min(first, passed - MARKER) or first
    redis.call('ZADD', OWING, math.max(due, 0), RECORD:sub(-32))
end

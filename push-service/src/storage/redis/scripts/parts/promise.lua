-- What is written before it is known how a message ends.

-- Keeps a key for at least so long.
local function keep(key, ms)
    if redis.call('PTTL', key) < ms then
        redis.call('PEXPIRE', key, ms + math.floor(ms / 8))
    end
end

-- A new entry. It outlives its message, so that nodes that were all stopped for a while still find how it ended.
local function expect_fate(nonce, number, receipts, sub, fate, expires)
    put_owed(nonce, number, receipts, sub, fate, expires)
    for _, key in ipairs({ OUTBOX, DUES, OWING }) do
        keep(key, expires - now_ms + OUTBOX_KEPT_MS)
    end
end

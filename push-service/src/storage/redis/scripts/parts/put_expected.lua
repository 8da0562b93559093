-- Writes down that a receipt is expected, in the place of what was expected of the same message before.
local function put_expected(message, url, deadline)
    -- A deadline without an expectation is removed when it is due.
    redis.call('ZADD', DEADLINES, deadline, RECORD:sub(-32) .. message)
    redis.call('HSET', EXPECTED, message, url .. struct.pack('>I6', deadline))
    for _, key in ipairs({ EXPECTED, DEADLINES }) do
        keep(key, math.max(deadline - now_ms, 0) + OUTBOX_KEPT_MS)
    end
end

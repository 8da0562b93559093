-- Receipts that a receipt subscription expects, and when those of the whole bucket have to be asked after.
--
-- EXPECTED: user agent and nonce, raw, to the dialect and sealing key of the message's URL and the deadline. DEADLINES:
-- receipt subscription, in hexadecimal, and the same, by the deadline in ms.

-- Writes down that a receipt is expected, in the place of what was expected of the same message before.
local function put_expected(message, url, deadline)
    -- A deadline without an expectation is removed when it is due.
    local ms = math.max(deadline - now_ms, 0) + OUTBOX_KEPT_MS
    write_kept(ms, 'ZADD', DEADLINES, deadline, RECORD:sub(-32) .. message)
    write_kept(ms, 'HSET', EXPECTED, message, url .. struct.pack(layout.DEADLINE, deadline))
end

-- What is written before it is known how a message ends.

-- A new entry. It outlives its message, so that nodes that were all stopped for a while still find how it ended.
local function expect_fate(nonce, number, receipts, sub, fate, expires)
    put_owed(nonce, number, receipts, sub, fate, expires, function(...)
        write_kept(expires - now_ms + OUTBOX_KEPT_MS, ...)
    end)
end

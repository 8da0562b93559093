-- Adds an entry to the outbox, before it is known how the message ends. The entry outlives the message, so that nodes that were all
-- stopped for a while still find the outcome.
local function expect_outcome(nonce, number, receipts, sub, outcome, expires)
    put_owed(nonce, number, receipts, sub, outcome, expires, function(...)
        write_kept(expires - now_ms + OUTBOX_KEPT_MS, ...)
    end)
end

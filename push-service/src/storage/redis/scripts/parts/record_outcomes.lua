-- Writes the outcomes of the leaving messages into the outbox, if a receipt was requested.
if OUTBOX then
    for _, leaves in ipairs(leaving) do
        if leaves[3] and asks_receipt(leaves[1]) then
            owe(leaves[1]:sub(1, layout.NONCE_BYTES), leaves[3])
        end
        leaves[3] = nil
    end
end

-- Reads an index entry: `topic`, and `counted`, the LEFT fields of a message that leaves (size, expiry, sealing key, sender or
-- zeros). By these the node subtracts the message from the sums of senders (`redis/senders.rs`).
local topic, counted = '', nil
if entry:byte(layout.TOPIC_AT) == layout.WITH_SENDER then
    counted = entry:sub(layout.ENTRY_LEFT_AT, layout.ENTRY_BYTES + layout.SENDER_BYTES)
elseif #entry < layout.TOPIC_AT then
    counted = entry:sub(layout.ENTRY_LEFT_AT) .. NO_SENDER
else
    local ends = entry:byte(-1) == 0 and #entry - 1 or #entry
    local sender_at = ends - layout.SENDER_BYTES + 1
    if sender_at >= layout.TOPIC_AT and entry:byte(sender_at) == layout.WITH_SENDER then
        topic = entry:sub(layout.TOPIC_AT, sender_at - 1)
        counted = entry:sub(layout.ENTRY_LEFT_AT, layout.ENTRY_BYTES) .. entry:sub(sender_at, ends)
    else
        topic = entry:sub(layout.TOPIC_AT, ends)
        counted = entry:sub(layout.ENTRY_LEFT_AT, layout.ENTRY_BYTES) .. NO_SENDER
    end
end

-- Reads from an entry its topic, and the 20 bytes by which a node counts a message that leaves: size, expiry, sealing key, and
-- a one with the sender or nine zeros.
local topic, counted = '', nil
if entry:byte(TOPIC_AT) == 1 then
    counted = entry:sub(17, 36)
elseif #entry < TOPIC_AT then
    counted = entry:sub(17) .. NO_SENDER
else
    local ends = entry:byte(-1) == 0 and #entry - 1 or #entry
    if ends >= TOPIC_AT + 8 and entry:byte(ends - 8) == 1 then
        topic, counted = entry:sub(TOPIC_AT, ends - 9), entry:sub(17, 27) .. entry:sub(ends - 8, ends)
    else
        topic, counted = entry:sub(TOPIC_AT, ends), entry:sub(17, 27) .. NO_SENDER
    end
end

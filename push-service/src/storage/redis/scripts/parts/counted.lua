-- Of an entry: its topic, and what a node counts when the message leaves: size, expiry, sealing key, and the sender with
-- a one in front, or zeros.
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

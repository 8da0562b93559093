-- The index of what waits: a sorted set with a lane for each urgency, in each lane by number.
--
-- A score is the urgency times LANE and the number above EPOCH, which come with the script. An entry holds all that
-- rules ask of a message, so that no body is touched but to be delivered: nonce, subscription, size, expiry, sealing key,
-- and behind them the topic; a one and the sender, if it is counted; and a zero if a receipt was asked for. No topic
-- holds a zero or a one, and no sender ends with a zero. An entry of an older version has no sender. A node of an older
-- version takes the sender for a part of the topic, for which it finds no field.
local NO_SENDER = '\0\0\0\0\0\0\0\0\0'

local function asks_receipt(entry)
    return #entry >= layout.TOPIC_AT and entry:byte(-1) == 0
end

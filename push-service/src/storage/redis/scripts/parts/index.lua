-- The index of what waits: a sorted set with a lane for each urgency, in each lane by number.
--
-- A score is the urgency times LANE and the number above EPOCH, which come with the script. An entry holds all that
-- rules ask of a message, so that no body is touched but to be delivered: nonce, subscription, size, expiry, sealing key,
-- and behind them the topic, and a zero if a receipt was asked for. No topic holds a zero.
local ENTRY, TOPIC_AT = '>c8c8I4I6B', 28

local function asks_receipt(entry)
    return #entry >= TOPIC_AT and entry:byte(-1) == 0
end

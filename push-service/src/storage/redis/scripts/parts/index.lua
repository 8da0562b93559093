-- The index of what waits: a sorted set with a lane for each urgency, in each lane by number.
--
-- A score is the urgency times LANE and the number above EPOCH, which come with the script. An entry holds all that
-- rules ask of a message, so that no body is touched but to be delivered: nonce, subscription, size, expiry, sealing key,
-- and behind them the topic.
local ENTRY, TOPIC_AT = '>c8c8I4I6B', 28

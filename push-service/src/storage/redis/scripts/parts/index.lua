-- The index of what waits: a sorted set with a lane for each urgency, in each lane by number.
--
-- A score has 53 bits: two of urgency, and 51 of microseconds since 2020, which last until 2091. An entry holds all that
-- rules ask of a message, so that no body is touched but to be delivered: nonce, subscription, size, expiry, sealing key,
-- and behind them the topic.
local EPOCH, LANE = 1577836800000000, 2251799813685248
local ENTRY, TOPIC_AT = '>c8c8I4I6B', 28

-- Says that a node is alive, and forgets those that have not said so for long.
--
-- KEYS: the nodes. ARGV: 1 the node and the newest format that it reads, or nothing to only look; 2 how long in ms a node
-- is believed to be alive.
-- Answers the nodes that are alive.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '' then
    redis.call('ZADD', KEYS[1], now_ms, ARGV[1])
    redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms - ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)

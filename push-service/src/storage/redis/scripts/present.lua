-- Says that a node is alive, and forgets those that have not said so for long.
--
-- ARGV: 3 the node and the newest format that it reads, or nothing to only look; 4 how long in ms a node is believed to be
-- alive. By Redis's clock alone.
-- Answers the nodes that are alive.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '' then
    redis.call('ZADD', NODES, now_ms, ARGV[3])
    redis.call('PEXPIRE', NODES, 2 * ARGV[4])
end
redis.call('ZREMRANGEBYSCORE', NODES, '-inf', now_ms - ARGV[4])
return redis.call('ZRANGE', NODES, 0, -1)

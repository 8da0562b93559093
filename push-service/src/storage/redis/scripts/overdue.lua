-- Receipts of a bucket that are owed for too long, each leased so that others leave it alone for a while.
--
-- KEYS: 1 the bucket's mark, 2 when its receipts have to be asked after.
-- ARGV: 1 the time, as in `record`; 2 how many at most; 3 how long they are leased, in ms. Answers how many were
-- looked at, and those that are owed: receipt subscription in hexadecimal, user agent and nonce.
local MARK, DEADLINES = KEYS[1], KEYS[2]
local node_us = tonumber(ARGV[1])
local now_us, is_apart
if node_us then
    local time = redis.call('TIME')
    now_us = time[1] * 1000000 + time[2]
    is_apart = math.abs(now_us - node_us) > APART_US
else
    now_us = tonumber(ARGV[1]:sub(2))
end
if is_apart then
    return redis.error_reply('TROUBLE the clocks of Redis and of this node are more than an hour apart: set both right')
end
local now_ms = math.floor(now_us / 1000)
if redis.call('EXISTS', MARK) == 0 then
    return redis.error_reply('TROUBLE the store has lost the mark of its format: it came back empty, or was never set up here')
end
local members = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now_ms, 'LIMIT', 0, ARGV[2])
local overdue = { #members }
for _, member in ipairs(members) do
    -- Of a receipt subscription that has ended, nothing is expected any more.
    if redis.call('HEXISTS', MARK .. ':e:' .. member:sub(1, 32), member:sub(33)) == 1 then
        redis.call('ZADD', DEADLINES, now_ms + ARGV[3], member)
        overdue[#overdue + 1] = member
    else
        redis.call('ZREM', DEADLINES, member)
    end
end
return overdue

-- Receipts of a bucket that are owed for too long, each leased so that others leave it alone for a while.
--
-- ARGV: 3 how many at most; 4 how long they are leased, in ms. Answers how many were looked at, and those that are owed:
-- receipt subscription in hexadecimal, user agent and nonce.
if is_apart then
    return redis.error_reply(CLOCKS_APART)
end
if redis.call('EXISTS', MARK) == 0 then
    return redis.error_reply(MARK_LOST)
end
local members = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now_ms, 'LIMIT', 0, ARGV[3])
local overdue = { #members }
for _, member in ipairs(members) do
    -- Of a receipt subscription that has ended, nothing is expected any more.
    if redis.call('HEXISTS', MARK .. ':e:' .. member:sub(1, 32), member:sub(33)) == 1 then
        redis.call('ZADD', DEADLINES, now_ms + ARGV[4], member)
        overdue[#overdue + 1] = member
    else
        redis.call('ZREM', DEADLINES, member)
    end
end
return overdue

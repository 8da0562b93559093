-- Gives the seat up, if the caller holds it. A record without subscriptions goes with it.
--
-- ARGV: 3 the caller's seat.
-- Answers whether an outcome waits in the outbox.
local why = open(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, 0)
end
if seat ~= ARGV[3] then
    return 0
end
if redis.call('HLEN', RECORD) == 1 then
    forget()
else
    seat = NOBODY
    redis.call('HSET', RECORD, 'm', meta())
end
return owes and 1 or 0

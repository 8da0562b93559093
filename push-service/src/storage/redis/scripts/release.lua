-- Gives the seat up, if the caller holds it. A record without subscriptions goes with it.
--
-- ARGV: 3 the caller's seat.
-- Answers a one if an outcome waits in the outbox, else a zero; behind it ids of messages that ended with the record, and what
-- is counted of each.
local why = open(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, '0')
end
if seat ~= ARGV[3] then
    return '0'
end
local removed = ''
if redis.call('HLEN', RECORD) == 1 then
    removed = ending()
    forget()
else
    seat = NOBODY
    redis.call('HSET', RECORD, 'm', meta())
end
return (owes and '1' or '0') .. removed

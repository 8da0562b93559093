-- Gives the seat up, if the caller holds it. A record without subscriptions goes with it.
--
-- ARGV: 3 the caller's seat.
-- Answers a digit that says whether an outcome waits in the outbox; behind it ids of messages that ended with the record, and
-- the LEFT fields of each (`counted.lua`).
local why = open_record(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, layout.NOT_DONE)
end
if seat ~= ARGV[3] then
    return layout.NOT_DONE
end
local removed = ''
if redis.call('HLEN', RECORD) == 1 then
    removed = ending()
    forget()
else
    seat = NO_SEAT
    redis.call('HSET', RECORD, 'm', meta())
end
return (owes and layout.NOT_DONE_OWING or layout.NOT_DONE) .. removed

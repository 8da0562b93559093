-- Ends a subscription. Its messages are on no page any more; sweeps free them.
--
-- ARGV: 3 name, 4 how long in ms an empty record is kept for its seat.
-- Answers the id, or nothing if there was none.
local why = open(redis.call('HGET', RECORD, 'm'))
if why then
    if why == UNKNOWN then
        write_nothing()
    end
    return without_record(why, false)
end
local named = redis.call('HGET', RECORD, 'n' .. ARGV[3])
if not named then
    write_nothing()
    return false
end
local id = named:sub(1, 8)
redis.call('HDEL', RECORD, 'n' .. ARGV[3], 's' .. id)
if redis.call('HLEN', RECORD) == 1 then
    if seat == NOBODY then
        redis.call('UNLINK', RECORD, INDEX, BODIES)
        return id
    end
    retained = now_ms + tonumber(ARGV[4])
    redis.call('PEXPIRE', RECORD, retained - now_ms)
end
if messages > 0 then
    -- Something may be due: the sweep that follows finds when the next thing is.
    earliest = now_ms
end
redis.call('HSET', RECORD, 'm', meta())
return id

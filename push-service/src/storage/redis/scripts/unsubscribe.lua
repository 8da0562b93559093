-- Ends a subscription, or all and the record with them. Messages are on no page any more; sweeps free them.
--
-- ARGV: 3 which: n and its name, s and its id, or nothing for all; 4 how long in ms an empty record is kept for its seat.
-- Answers nothing if there was none; or the seat, whether an outcome waits in the outbox, and the id, if it is one.
local which, empty_ms = ARGV[3], tonumber(ARGV[4])

local why = open(redis.call('HGET', RECORD, 'm'))
if why then
    if why == UNKNOWN then
        write_nothing()
    end
    return without_record(why, false)
end
local id = ''
if which == '' then
    forget()
else
    local other = redis.call('HGET', RECORD, which)
    if not other then
        write_nothing()
        return false
    end
    local name
    if which:sub(1, 1) == 'n' then
        id, name = other:sub(1, 8), which:sub(2)
    else
        id, name = which:sub(2), other:sub(1, 16)
    end
    redis.call('HDEL', RECORD, 'n' .. name, 's' .. id)
    local is_empty = redis.call('HLEN', RECORD) == 1
    if is_empty and seat == NOBODY then
        forget()
    else
        if is_empty then
            retained = now_ms + empty_ms
            redis.call('PEXPIRE', RECORD, retained - now_ms)
            -- Receipts are expected by receipt subscriptions, which have no other.
            redis.call('UNLINK', EXPECTED)
        end
        if messages > 0 then
            -- Something may be due: the sweep that follows finds when the next thing is.
            earliest = now_ms
        end
        redis.call('HSET', RECORD, 'm', meta())
    end
end
if is_elsewhere() then
    tell('E', id)
end
return seat .. (owes and '\1' or '\0') .. id

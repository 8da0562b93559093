-- Takes the seat and reads the head of the queue.
--
-- ARGV: 3 the seat that is taken, 4 what is wanted of the queue, 5 its scope, 6 numbers: ATTACH.
-- Answers nothing if there is no record; the milliseconds to wait; or the seat before, and a page.
local mine = ARGV[3]
local retention_ms, grains, empty_ms, most, insists = struct.unpack(layout.ATTACH, ARGV[6])

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, false)
end
local since_ms = attached_since * 1000
-- If the minute begins in the future, the clock has been set back since.
if since_ms + 60000 <= now_ms or since_ms > now_ms then
    attached_since, attaches = math.floor(now_ms / 1000), 1
elseif attaches >= most and insists == 0 then
    return { since_ms + 60000 - now_ms }
else
    attaches = math.min(attaches + 1, 255)
end
local answer = page(ARGV[4], ARGV[5])
local before = seat
seat = mine
unused = false
renew(retention_ms, grains, empty_ms)
redis.call('HSET', RECORD, 'm', meta())
if before ~= mine then
    -- The session that had the seat is told after it is taken, and not before.
    seat = before
    if is_elsewhere() then
        tell(layout.WAKE_UP_DISPLACED, '')
    end
end
table.insert(answer, 1, before)
return answer

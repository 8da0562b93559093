-- Reads on, if the caller holds the seat or no session does.
--
-- ARGV: 3 the caller's seat, 4 what is wanted of the queue, 5 its scope.
-- Answers nothing if there is no record, the holder if it is another, or a page.
local mine = ARGV[3]

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, false)
end
if seat ~= mine then
    if seat ~= NO_SEAT then
        return { seat }
    end
end
local answer = page(ARGV[4], ARGV[5])
if seat ~= mine then
    seat = mine
    redis.call('HSET', RECORD, 'm', meta())
end
table.insert(answer, 1, mine)
return answer

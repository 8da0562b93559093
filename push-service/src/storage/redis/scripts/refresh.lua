-- Compares a session's seat, takes a free one, renews the retention, and makes an unused record a used one (PR-29).
--
-- ARGV: 3 the session's seat, 4 numbers: RENEWED.
-- Answers UNKNOWN, DISPLACED, or HELD and HELD_ANSWER.
local mine = ARGV[3]
local retention_ms, grains, empty_ms = struct.unpack(layout.RENEWED, ARGV[4])

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, layout.UNKNOWN)
end
if seat ~= mine and seat ~= NO_SEAT then
    return layout.DISPLACED
end
seat = mine
unused = false
renew(retention_ms, grains, empty_ms)
redis.call('HSET', RECORD, 'm', meta())
local due = earliest > 0 and earliest <= now_ms
return layout.HELD .. struct.pack(layout.HELD_ANSWER, last, due and 1 or 0)

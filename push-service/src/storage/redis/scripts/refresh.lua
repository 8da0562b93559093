-- Compares a session's seat, takes a free one, renews the retention, and makes an unused record a used one (PR-29).
--
-- ARGV: 3 the session's seat, 4 packed: retention in ms, its grains, how long an empty record is kept.
-- Answers U unknown, D displaced, or H, the last number, and whether something is due to be dropped.
local mine = ARGV[3]
local retention_ms, grains, empty_ms = struct.unpack('>I6I4I6', ARGV[4])

local why = open(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, 'U')
end
if seat ~= mine and seat ~= NOBODY then
    return 'D'
end
seat = mine
unused = false
renew(retention_ms, grains, empty_ms)
redis.call('HSET', RECORD, 'm', meta())
local due = earliest > 0 and earliest <= now_ms
return 'H' .. struct.pack('>I8B', last, due and 1 or 0)

-- The whole record, as it stands: for support and for an export.
--
-- Answers nothing if there is no record. Otherwise fields and values, and behind them what waits of each subscription: SHARE
-- and its id, then SHARE_ANSWER.
local why = open_record(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, false)
end
check_count()
local answer, shares = redis.call('HGETALL', RECORD), {}
local place = '-inf'
while messages > 0 do
    local entries = redis.call('ZRANGEBYSCORE', INDEX, place, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
    for at = 1, #entries, 2 do
        local _, id, size = struct.unpack(layout.ENTRY, entries[at])
        local share = shares[id] or { 0, 0 }
        shares[id] = { share[1] + 1, share[2] + size + OVERHEAD }
    end
    if #entries < 200 then
        break
    end
    place = '(' .. entries[#entries]
end
for id, share in pairs(shares) do
    answer[#answer + 1] = layout.SHARE .. id
    answer[#answer + 1] = struct.pack(layout.SHARE_ANSWER, share[1], share[2])
end
return answer

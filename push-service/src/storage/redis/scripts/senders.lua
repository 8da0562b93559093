-- Adds to the bytes that wait of one sender, or of all.
--
-- SUM has parts by when messages expire. ARGV: 3 and the rest: parts, and what is added to each. A part is named LENGTH:INDEX,
-- both in hexadecimal: the messages that expire in the period INDEX since 1970, if each period has 2 ^ LENGTH ms. A part whose
-- time is over is dropped, because none of its messages waits. Answers the sum of the other parts. A part is below zero for a
-- moment if the node that removed a message tells before the node that stored it, and for longer if the message was never
-- counted. Then it counts as nothing, so that it does not hide what waits in other parts.
for at = 3, #ARGV, 2 do
    redis.call('HINCRBY', SUM, ARGV[at], ARGV[at + 1])
end
local parts, sum, last = redis.call('HGETALL', SUM), 0, 0
for at = 1, #parts, 2 do
    local length, index = parts[at]:match('^(%x+):(%x+)$')
    local over = (tonumber(index, 16) + 1) * 2 ^ tonumber(length, 16)
    local bytes = tonumber(parts[at + 1])
    if over <= now_ms or bytes == 0 then
        redis.call('HDEL', SUM, parts[at])
    else
        sum, last = sum + math.max(bytes, 0), math.max(last, over)
    end
end
if last > 0 then
    redis.call('PEXPIRE', SUM, string.format('%.0f', last - now_ms))
end
return string.format('%.0f', sum)

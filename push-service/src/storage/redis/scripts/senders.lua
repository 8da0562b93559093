-- Adds to the bytes that wait of one sender, or of all.
--
-- KEYS: the sum, in parts by when messages expire. ARGV: 1 the node's time in microseconds; in a test, with a letter in
-- front, the time of the step; then parts and what is added to each. A part is the length of a time, as a power of two in
-- ms, and which of these times it is, both in hexadecimal. A part whose time is over is dropped: of what was counted in it
-- nothing waits any more. Answers the sum of the others. A part may be below zero for a moment, when the node that took a
-- message out is told of before the node that stored it.
local now_ms
if tonumber(ARGV[1]) then
    local time = redis.call('TIME')
    now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
else
    now_ms = math.floor(tonumber(ARGV[1]:sub(2)) / 1000)
end
for at = 2, #ARGV, 2 do
    redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])
end
local parts, sum, last = redis.call('HGETALL', KEYS[1]), 0, 0
for at = 1, #parts, 2 do
    local length, index = parts[at]:match('^(%x+):(%x+)$')
    local over = (tonumber(index, 16) + 1) * 2 ^ tonumber(length, 16)
    local bytes = tonumber(parts[at + 1])
    if over <= now_ms or bytes == 0 then
        redis.call('HDEL', KEYS[1], parts[at])
    else
        sum, last = sum + bytes, math.max(last, over)
    end
end
if last > 0 then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last - now_ms))
end
return string.format('%.0f', sum)

-- The time of the step, and whether the two clocks are too far apart.
--
-- ARGV[1]: the node's time in microseconds; in a test, with a letter in front, the time of the step. ARGV[2]: the node's
-- incarnation.
local node_us = tonumber(ARGV[1])
local now_us, is_apart
if node_us then
    local time = redis.call('TIME')
    now_us = time[1] * 1000000 + time[2]
    is_apart = math.abs(now_us - node_us) > APART_US
else
    now_us = tonumber(ARGV[1]:sub(2))
end
local now_ms = math.floor(now_us / 1000)
-- If they are, one of them has leapt, and the step is refused: a subscription or message that ends by a wrong clock is lost.
local CLOCKS_APART =
    'TROUBLE the clocks of Redis and of this node are more than an hour apart: correct the wrong one, for example by NTP'
local MARK_LOST = 'TROUBLE this part of the store has lost the mark of its format, because Redis came back without its data: '
    .. 'bring the data back; if it is lost for good, run `push-service storage begin-anew`'

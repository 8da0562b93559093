-- Turns expected receipts into receipts: each is a message whose body says the outcome.
--
-- ARGV: 3 numbers: SETTLE; 4 the header of a body; 5 outcomes, each SETTLED.
-- Answers the seat, how many joined the queue.
local NORMAL = 2
local tells, kept_ms, grains = struct.unpack(layout.SETTLE, ARGV[3])
local header, outcomes = ARGV[4], ARGV[5]

local found = redis.call('HMGET', RECORD, 'm', SUBSCRIBED)
local why = open_record(found[1])
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
if why or not found[2] then
    -- The receipt subscription has ended: no receipt can be delivered.
    write_nothing()
    return struct.pack(layout.SETTLED_ANSWER, NO_SEAT, 0)
end
-- Receipts join the queue first, and then the expectations are removed. A step that is aborted between the two delivers a
-- receipt twice, and loses none.
local joined, settled, is_settled = 0, {}, {}
for at = 1, #outcomes, layout.SETTLED_BYTES do
    local user_agent, number, nonce, outcome = struct.unpack(layout.SETTLED, outcomes, at)
    local message = user_agent .. nonce
    local expected = redis.call('HGET', EXPECTED, message)
    if expected and not is_settled[message] then
        is_settled[message] = true
        settled[#settled + 1] = message
        local url = expected:sub(1, layout.URL_BYTES)
        if outcome ~= REPLACED then
            if joined < 2 then
                check_count()
            end
            local body = user_agent .. number .. nonce .. url .. string.char(outcome)
            local expires = now_ms + kept_ms
            local size, urgency, topic, ttl_ms, value = #body, NORMAL, '', kept_ms, header .. body
            local entry = struct.pack(layout.ENTRY, nonce, SUBSCRIBED:sub(2), size, expires, url:byte(layout.URL_SEALED_BY_AT))
            last = math.max(last + 1, now_us, EPOCH + 1)
--+ append
            joined = joined + 1
        end
    end
end
if joined > 0 then
    retain(kept_ms, grains)
    redis.call('HSET', RECORD, 'm', meta())
end
for _, message in ipairs(settled) do
    redis.call('HDEL', EXPECTED, message)
    redis.call('ZREM', DEADLINES, RECORD:sub(-32) .. message)
end
if joined > 0 then
    if tells == 1 and is_elsewhere() then
        tell(layout.WAKE_UP_READ_AGAIN, '')
    end
else
    write_nothing()
end
return struct.pack(layout.SETTLED_ANSWER, seat, joined)

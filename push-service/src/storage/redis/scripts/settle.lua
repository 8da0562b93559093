-- Turns what is owed into receipts: for each outcome that is expected, a message whose body says it.
--
-- ARGV: 3 packed: whether to tell another node's seat, for how long in ms a receipt waits, the grains of what is retained,
-- 4 the header of a body, 5 outcomes, each user agent, id and fate.
-- Answers the seat, how many joined the queue.
local OUTCOME, OUTCOME_BYTES, ZEROS, NORMAL = '>c16c8c8B', 33, string.rep('\0', 8), 2
local tells, kept_ms, grains = struct.unpack('>BI6I4', ARGV[3])
local header, outcomes = ARGV[4], ARGV[5]

local found = redis.call('HMGET', RECORD, 'm', SUBSCRIBED)
local why = open(found[1])
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
if why or not found[2] then
    -- Nobody is left who could be told.
    write_nothing()
    return NOBODY .. struct.pack('>I4', 0)
end
-- Receipts join the queue first, and then the expectations are removed: a step that is aborted between the two tells
-- a receipt twice, and loses none.
local joined, settled, is_settled = 0, {}, {}
for at = 1, #outcomes, OUTCOME_BYTES do
    local user_agent, number, nonce, fate = struct.unpack(OUTCOME, outcomes, at)
    local message = user_agent .. nonce
    local expected = redis.call('HGET', EXPECTED, message)
    if expected and not is_settled[message] then
        is_settled[message] = true
        settled[#settled + 1] = message
        local url = expected:sub(1, 2)
        if fate ~= REPLACED then
            if joined < 2 then
                whole()
            end
            local body = user_agent .. number .. nonce .. url .. string.char(fate)
            local expires = now_ms + kept_ms
            local size, urgency, topic, ttl_ms, value = #body, NORMAL, '', kept_ms, header .. body
            local entry = struct.pack(ENTRY, nonce, ZEROS, size, expires, url:byte(2))
            last = math.max(last + 1, now_us, EPOCH + 1)
--+ admit
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
        tell('A', '')
    end
else
    write_nothing()
end
return seat .. struct.pack('>I4', joined)

-- Urgencies in the order in which they are common.
local COMMON_FIRST = { 2, 3, 1, 0 }

-- The entry of that number.
local function find(number)
    if number <= EPOCH or number >= EPOCH + LANE then
        return nil
    end
    for _, urgency in ipairs(COMMON_FIRST) do
        -- Spelled once: a number would be spelled, and read, twice.
        local place = string.format('%.0f', urgency * LANE + (number - EPOCH))
        local entry = redis.call('ZRANGEBYSCORE', INDEX, place, place)[1]
        if entry then
            return entry
        end
    end
end

-- Takes a message out of the queue, which is its fate if a receipt was asked for; answers its whole id.
local function take_out(entry, number, fate)
    local nonce, id, size = struct.unpack(ENTRY, entry)
    local asks = #entry >= TOPIC_AT and entry:byte(-1) == 0
    if asks then
        owe(nonce, fate)
    end
    local field = struct.pack('>I8', number)
    redis.call('ZREM', INDEX, entry)
    redis.call('HDEL', BODIES, field)
    local topic = entry:sub(TOPIC_AT, asks and -2 or -1)
    if topic ~= '' then
        local of_topic = 't' .. id .. topic
        if redis.call('HGET', BODIES, of_topic) == field then
            redis.call('HDEL', BODIES, of_topic)
        end
    end
    messages, bytes = messages - 1, bytes - size - OVERHEAD
    if messages == 0 then
        earliest, kept = 0, 0
    end
    return field .. nonce
end

-- Urgencies in the order in which they are common.
local COMMON_FIRST = { 2, 3, 1, 0 }

-- The entry of that number, and its urgency.
local function find(number)
    if messages == 0 or number <= EPOCH or number > last then
        return nil
    end
    for tries, urgency in ipairs(COMMON_FIRST) do
        -- Spelled once: a number would be spelled, and read, twice.
        local place = string.format('%.0f', urgency * LANE + (number - EPOCH))
        local entry = redis.call('ZRANGEBYSCORE', INDEX, place, place)[1]
        if entry then
            return entry, urgency
        end
        if tries == 1 and redis.call('HEXISTS', BODIES, struct.pack('>I8', number)) == 0 then
            return nil
        end
    end
end

-- Messages leave in two halves, so that a step which is aborted has lost nothing: they are counted out, the record is written,
-- and then they are taken out. Between these halves, what is there and not counted waits, and is counted again by `mend`.
--
-- `leaving` holds for each: entry, number, its fate, urgency.

-- Says how they end, where a receipt was asked for. A step that only takes out says so before it counts them out: a repetition
-- may not find them. One that makes room says so afterwards: what stays has no fate yet.
local function decide(leaving)
    for _, leaves in ipairs(leaving) do
        local entry = leaves[1]
        if leaves[3] and #entry >= TOPIC_AT and entry:byte(-1) == 0 then
            owe(entry:sub(1, 8), leaves[3])
        end
        leaves[3] = nil
    end
end

local short_again
local function count_out(leaving)
    for _, leaves in ipairs(leaving) do
        local _, _, size = struct.unpack(ENTRY, leaves[1])
        messages, bytes = messages - 1, bytes - size - OVERHEAD
    end
    if messages == 0 then
        earliest, kept = 0, 0
    elseif ordered and messages < ORDER_BELOW then
        ordered, short_again = false, true
    end
end

-- Answers the whole ids.
local function take_out(leaving)
    local ids, fields, entries = {}, {}, {}
    decide(leaving)
    for at, leaves in ipairs(leaving) do
        local entry = leaves[1]
        local nonce, id = struct.unpack(ENTRY, entry)
        local asks = #entry >= TOPIC_AT and entry:byte(-1) == 0
        local field = struct.pack('>I8', leaves[2])
        ids[at], entries[at], fields[#fields + 1] = field .. nonce, entry, field
        local topic = entry:sub(TOPIC_AT, asks and -2 or -1)
        if topic ~= '' then
            local of_topic = 't' .. id .. topic
            if redis.call('HGET', BODIES, of_topic) == field then
                fields[#fields + 1] = of_topic
            end
        end
    end
    if messages == 0 then
        drop_queue()
        return table.concat(ids)
    end
    if short_again then
        drop_orders()
    end
    local victims, sums
    if ordered then
        victims, sums = order_keys()
        local shares, moments = {}, {}
        for at, leaves in ipairs(leaving) do
            local _, id, size = struct.unpack(ENTRY, leaves[1])
            shares[id] = (shares[id] or 0) + size + OVERHEAD
            moments[at] = 'n' .. struct.pack('>I8B', leaves[2], leaves[4])
        end
        redis.call('ZREM', sums, unpack(moments))
        for id, share in pairs(shares) do
            -- Of a subscription that has ended, no sum is kept.
            if redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
                redis.call('ZADD', sums, 'INCR', share, 's' .. id)
            end
        end
    end
    redis.call('ZREM', INDEX, unpack(entries))
    redis.call('HDEL', BODIES, unpack(fields))
    if ordered then
        -- The last of it: until then the orders hold more than waits, by which they are known not to be whole.
        local places = {}
        for at, leaves in ipairs(leaving) do
            local _, id = struct.unpack(ENTRY, leaves[1])
            places[at] = id .. struct.pack('>BI8', leaves[4], leaves[2])
        end
        redis.call('ZREM', victims, unpack(places))
    end
    return table.concat(ids)
end

-- Urgencies in the order in which they are common.
local COMMON_FIRST = { 2, 3, 1, 0 }

-- The entry with that number, and its urgency. For a missing one, one look is enough if it is probably missing,
-- otherwise two.
local function find(number, is_doubtful)
    if messages == 0 or number <= EPOCH or number > last then
        return nil
    end
    if is_doubtful and redis.call('HEXISTS', BODIES, struct.pack(layout.NUMBER, number)) == 0 then
        return nil
    end
    for tries, urgency in ipairs(COMMON_FIRST) do
        -- Spelled once: a number would be spelled, and read, twice.
        local place = string.format('%.0f', urgency * LANE + (number - EPOCH))
        local entry = redis.call('ZRANGEBYSCORE', INDEX, place, place)[1]
        if entry then
            return entry, urgency
        end
        if tries == 1 and not is_doubtful and redis.call('HEXISTS', BODIES, struct.pack(layout.NUMBER, number)) == 0 then
            return nil
        end
    end
end

-- Messages leave in two parts, so that an aborted step loses nothing: they are counted out, the record is written,
-- and then they are taken out. After an abort between the parts, messages that exist but are not counted still wait,
-- and `mend` counts them again.
--
-- `leaving` holds for each: entry, number, its fate, urgency.

-- A step that only takes messages out records their outcome before it counts them out, because a repetition may not
-- find them. A step that makes room records it afterwards, because a message that stays has no outcome yet.
local short_again

-- Returns the whole ids, and behind all of them what is counted of each.
local function take_out(leaving)
    local ids, fields, entries, count = {}, {}, {}, #leaving
    --+ decide
    for at, leaves in ipairs(leaving) do
        local entry = leaves[1]
        local nonce, id = struct.unpack(layout.ENTRY, entry)
        --+ counted
        local field = struct.pack(layout.NUMBER, leaves[2])
        ids[at], ids[count + at] = field .. nonce, counted
        entries[at], fields[#fields + 1] = entry, field
        if topic ~= '' then
            local of_topic = 't' .. id .. topic
            if redis.call('HGET', BODIES, of_topic) == field then
                fields[#fields + 1] = of_topic
            end
        end
    end
    if messages == 0 then
        --+ drop_queue
        return table.concat(ids)
    end
    --+ orders_leave
    redis.call('ZREM', INDEX, unpack(entries))
    redis.call('HDEL', BODIES, unpack(fields))
    --+ orders_left
    return table.concat(ids)
end

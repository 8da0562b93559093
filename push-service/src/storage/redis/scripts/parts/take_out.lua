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
        -- Formatted once: Redis would format and parse a number for each of the two arguments.
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

-- Messages leave in two parts, so that an aborted step loses nothing: they are subtracted from the record's sums (`count_out`),
-- the record is written, and then they are removed (`take_out`). After an abort between the parts, messages that exist but
-- are not counted still wait, and `recount` counts them again.
--
-- `leaving` has for each of them: entry, number, receipt outcome, urgency.

-- A step that only removes messages records their outcomes before it subtracts them, because a repetition may not find them. A
-- step that makes room records outcomes when it removes the messages, because a message that stays has no outcome yet.
local short_again

-- Returns the whole ids, and behind all of them the LEFT fields of each (`counted.lua`).
local function take_out(leaving)
    local ids, fields, entries, count = {}, {}, {}, #leaving
    --+ record_outcomes
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

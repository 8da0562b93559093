-- Ends a subscription, or all of them and the record. Removes its messages, at most as many as one step may, if they are
-- found without reading a long queue (PR-31, PR-43). Sweeps remove the others. Until then those still count, but are neither
-- shown nor acknowledged, and are the first to be evicted.
--
-- ARGV: 3 which: its field in the record, by its name or by its id, or nothing for all; 4 how long in ms an empty record is kept for its seat.
-- Answers nothing if there was none. Otherwise: the seat; OWES if an outcome waits in the outbox, plus DUE if messages are
-- left for sweeps; the subscription's id with its length in front, if it is one; ids of messages that left the window,
-- and the LEFT fields of each (`counted.lua`).
local which, empty_ms = ARGV[3], tonumber(ARGV[4])

-- Waiting messages of a subscription, at most as many as one step takes, and whether that is all.
local function messages_of(id)
    check_count()
    if ordered then
        --+ orders
        if #redis.call('ZRANGE', victims, messages - 1, messages) ~= 1 then
            -- They are incomplete.
            --+ drop_orders
        end
    end
    local leaving = {}
    if ordered then
        --+ orders
        local places = redis.call('ZRANGE', victims, '[' .. id, '(' .. id .. '\4', 'BYLEX', 'LIMIT', 0, STEP + 1)
        for at = 1, math.min(#places, STEP) do
            local urgency, number = struct.unpack(layout.VICTIM, places[at], layout.ID_BYTES + 1)
            local place = string.format('%.0f', urgency * LANE + (number - EPOCH))
            local entry = redis.call('ZRANGEBYSCORE', INDEX, place, place)[1]
            leaving[at] = { entry, number, GIVEN_UP, urgency }
        end
        return leaving, #places <= STEP
    end
    if messages >= ORDER_FROM then
        -- To find them, the whole queue would have to be read: sweeps do it in parts. To make the orders first would take
        -- 4.5 ms for 1,000 messages.
        return leaving, false
    end
    local entries = messages > 0
        and redis.call('ZRANGEBYSCORE', INDEX, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, ORDER_FROM) or {}
    for at = 1, #entries, 2 do
        if entries[at]:sub(layout.ENTRY_ID_AT, layout.ENTRY_LEFT_AT - 1) == id then
            local score = entries[at + 1]
            leaving[#leaving + 1] = { entries[at], score % LANE + EPOCH, GIVEN_UP, math.floor(score / LANE) }
        end
    end
    return leaving, true
end

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why then
    if why == UNKNOWN then
        write_nothing()
    end
    return without_record(why, false)
end
local id, removed, is_due = '', '', false
if which == '' then
    removed = ending()
    is_due = true
    forget()
else
    local other = redis.call('HGET', RECORD, which)
    if not other then
        write_nothing()
        return false
    end
    local name, of
    if which:sub(1, 1) == 'n' then
        id, name = other:sub(1, layout.ID_BYTES), which:sub(2)
        of = redis.call('HGET', RECORD, 's' .. id)
    else
        id, name, of = which:sub(2), other:sub(1, layout.NAME_BYTES), other
    end
    -- The subscription's name and id, and its part of the record.
    local is_last = redis.call('HLEN', RECORD) == 3
    if is_last and seat == NO_SEAT then
        removed = ending()
        is_due = true
        forget()
    else
        -- If the subscription never had a message, the waiting messages are not read (PR-43).
        local leaving, is_all = {}, true
        if messages > 0 and of and select(3, struct.unpack(layout.SUBSCRIPTION, of)) > 0 then
            leaving, is_all = messages_of(id)
        end
        local before = earliest
        if #leaving > 0 or not is_all then
            -- If this step is aborted, a sweep finds what it left.
            earliest = now_ms
            redis.call('HSET', RECORD, 'm', meta())
        end
        -- From this write on it has ended.
        redis.call('HDEL', RECORD, 'n' .. name, 's' .. id)
        if is_all then
            earliest = before
        end
        is_due = not is_all
        if is_last then
            retained = now_ms + empty_ms
        end
        if ordered then
            if is_all then
                -- Also of one with nothing that waits: a sum of zero may stand for it.
                --+ orders
                redis.call('ZREM', sums, 's' .. id)
            else
                --+ drop_orders
            end
        end
        --+ record_outcomes
        --+ count_out
        redis.call('HSET', RECORD, 'm', meta())
        if is_last then
            redis.call('PEXPIRE', RECORD, retained - now_ms)
            -- Receipts are expected by receipt subscriptions, which have no other.
            redis.call('UNLINK', EXPECTED)
        end
        if #leaving > 0 then
            removed = take_out(leaving)
        end
        give_up_passing(id)
    end
end
if is_elsewhere() then
    if removed ~= '' then
        -- At most the ids of one step, without the LEFT fields behind them.
        local left = math.min(STEP, #removed / (layout.MESSAGE_ID_BYTES + layout.LEFT_BYTES))
        tell(layout.WAKE_UP_REMOVED, removed:sub(1, layout.MESSAGE_ID_BYTES * left))
    end
    tell(layout.WAKE_UP_ENDED, id)
end
return seat .. string.char((owes and layout.OWES or 0) + (is_due and layout.DUE or 0), #id) .. id .. removed

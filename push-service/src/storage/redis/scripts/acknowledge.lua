-- Removes messages by whole id, from any session.
--
-- ARGV: 3 the seat of the session that asks, or nothing; 4 ids; 5 the outcome of their receipts.
-- Answers AGAIN, or one string, which costs Redis less than three: the seat; for each id a digit (whether it was there and in
-- time; at one of them also whether outcomes wait in the outbox); the ids that were removed, and behind them the LEFT
-- fields of each (`counted.lua`).
local by, ids = ARGV[3], ARGV[4]

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why then
    if why == UNKNOWN then
        write_nothing()
    end
    return without_record(why, NO_SEAT .. string.rep(layout.NOT_DONE, #ids / layout.MESSAGE_ID_BYTES))
end
if messages == 1 and earliest > now_ms then
    local sole = redis.call('HGET', BODIES, SOLE)
    -- Number and nonce, as an id has them.
    if sole and sole:sub(layout.SOLE_ID_AT, layout.SOLE_ID_AT + layout.MESSAGE_ID_BYTES - 1) == ids then
        local there = layout.DONE
        if #sole > layout.SOLE_BYTES and sole:byte(-1) == 0 then
            -- A receipt was asked for.
            if not OUTBOX then
                return layout.AGAIN
            end
            owe(ids:sub(-layout.NONCE_BYTES), tonumber(ARGV[5]))
            there = layout.DONE_OWING
        end
        redis.call('UNLINK', BODIES)
        messages, bytes, earliest, kept = 0, 0, 0, 0
        redis.call('HSET', RECORD, 'm', meta())
        if seat ~= by and is_elsewhere() then
            tell(layout.WAKE_UP_REMOVED, ids)
        end
        -- Its LEFT fields, as in `counted.lua`.
        local left_end = layout.SOLE_LEFT_AT + layout.LEFT_BYTES - 1
        return seat .. there .. ids .. (#sole >= left_end and sole:sub(layout.SOLE_LEFT_AT, left_end)
            or sole:sub(layout.SOLE_LEFT_AT, layout.SOLE_BYTES) .. NO_SENDER)
    end
end

if ordered and not OUTBOX then
    return layout.AGAIN
end
if OUTBOX then
    check_count()
else
    index_sole()
end
local outcome = tonumber(ARGV[5])
-- Nothing is written before all of them are found.
local found, asked, leaving, is_leaving = {}, false, {}, {}
for at = 1, #ids, layout.MESSAGE_ID_BYTES do
    local number, nonce = struct.unpack(layout.MESSAGE_ID, ids, at)
    if number == PASSING then
        asked = true
        found[#found + 1] = nonce
    else
        local entry, urgency = find(number, #ids > layout.MESSAGE_ID_BYTES)
        local in_time = layout.NOT_DONE
        if entry and entry:sub(1, layout.NONCE_BYTES) == nonce and not is_leaving[number] then
            local _, id, _, expires = struct.unpack(layout.ENTRY, entry)
            asked = asked or asks_receipt(entry)
            -- A message that outlived its subscription is left for the sweep. It exists only if something is due.
            if earliest > now_ms or redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
                in_time = expires > now_ms and layout.DONE or layout.NOT_DONE
                is_leaving[number] = true
                leaving[#leaving + 1] = { entry, number, in_time == layout.DONE and outcome or GIVEN_UP, urgency }
            end
        end
        found[#found + 1] = in_time
    end
end
-- Before the last message is removed, and the queue with it, the count is checked. No message is subtracted twice.
if not OUTBOX and (asked or #leaving >= messages and #leaving > 0
    and #redis.call('ZRANGE', INDEX, messages - 1, messages) ~= 1) then
    return layout.AGAIN
end
for place, it in ipairs(found) do
    if #it == layout.NONCE_BYTES then
        found[place] = acknowledge_passing(it, outcome) and layout.DONE or layout.NOT_DONE
    end
end
local removed = ''
if #leaving > 0 then
    --+ record_outcomes
    --+ count_out
    redis.call('HSET', RECORD, 'm', meta())
    removed = take_out(leaving)
    if seat ~= by and is_elsewhere() then
        tell(layout.WAKE_UP_REMOVED, removed:sub(1, layout.MESSAGE_ID_BYTES * #leaving))
    end
elseif asked then
    redis.call('HSET', RECORD, 'm', meta())
else
    write_nothing()
end
if owes then
    found[1] = found[1] == layout.DONE and layout.DONE_OWING or layout.NOT_DONE_OWING
end
return seat .. table.concat(found) .. removed

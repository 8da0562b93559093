-- Removes messages by whole id, from any session.
--
-- ARGV: 3 the seat of the session that asks, or nothing; 4 ids, 16 bytes each; 5 the fate of their receipts.
-- Answers O to be run with the outbox. Otherwise one string, which costs Redis less than three: the seat; for each id
-- a digit (1: it was there and in time; 2 at one of them: outcomes wait in the outbox); the ids that were removed, and
-- what is counted of each.
local by, ids = ARGV[3], ARGV[4]

local why = open(redis.call('HGET', RECORD, 'm'))
if why then
    if why == UNKNOWN then
        write_nothing()
    end
    return without_record(why, NOBODY .. string.rep('0', #ids / 16))
end
if messages == 1 and earliest > now_ms then
    local sole = redis.call('HGET', BODIES, SOLE)
    -- Number and nonce, as an id has them.
    if sole and sole:sub(2, 17) == ids then
        local there = '1'
        -- 37 or 46 bytes: a receipt was asked for (`sole.lua`).
        if #sole % 9 == 1 then
            if not OUTBOX then
                return 'O'
            end
            owe(ids:sub(9), tonumber(ARGV[5]))
            there = '3'
        end
        redis.call('UNLINK', BODIES)
        messages, bytes, earliest, kept = 0, 0, 0, 0
        redis.call('HSET', RECORD, 'm', meta())
        if seat ~= by and is_elsewhere() then
            tell('R', ids)
        end
        -- What is counted of it, as in `counted.lua`. With a sender it has 45 bytes or more.
        return seat .. there .. ids .. (#sole >= 45 and sole:sub(26, 45) or sole:sub(26, 36) .. NO_SENDER)
    end
end

if ordered and not OUTBOX then
    return 'O'
end
if OUTBOX then
    whole()
else
    index_sole()
end
local fate = tonumber(ARGV[5])
-- Nothing is written before all of them are found.
local found, asked, leaving, is_leaving = {}, false, {}, {}
for at = 1, #ids, 16 do
    local number, nonce = struct.unpack('>I8c8', ids, at)
    if number == PASSING then
        asked = true
        found[#found + 1] = nonce
    else
        local entry, urgency = find(number, #ids > 16)
        local in_time = '0'
        if entry and entry:sub(1, 8) == nonce and not is_leaving[number] then
            local _, id, _, expires = struct.unpack(ENTRY, entry)
            asked = asked or asks_receipt(entry)
            -- A message that outlived its subscription is left for the sweep; there is none unless something is due.
            if earliest > now_ms or redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
                in_time = expires > now_ms and '1' or '0'
                is_leaving[number] = true
                leaving[#leaving + 1] = { entry, number, in_time == '1' and fate or GIVEN_UP, urgency }
            end
        end
        found[#found + 1] = in_time
    end
end
-- Before the last message goes, and the queue with it, the count is checked. No message is counted out twice.
if not OUTBOX and (asked or #leaving >= messages and #leaving > 0
    and #redis.call('ZRANGE', INDEX, messages - 1, messages) ~= 1) then
    return 'O'
end
for place, it in ipairs(found) do
    if #it == 8 then
        found[place] = acknowledge_passing(it, fate) and '1' or '0'
    end
end
local removed = ''
if #leaving > 0 then
    --+ decide
    --+ count_out
    redis.call('HSET', RECORD, 'm', meta())
    removed = take_out(leaving)
    if seat ~= by and is_elsewhere() then
        tell('R', removed:sub(1, 16 * #leaving))
    end
elseif asked then
    redis.call('HSET', RECORD, 'm', meta())
else
    write_nothing()
end
if owes then
    found[1] = found[1] == '1' and '3' or '2'
end
return seat .. table.concat(found) .. removed

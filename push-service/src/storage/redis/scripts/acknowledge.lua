-- Removes messages by whole id, from any session.
--
-- ARGV: 3 the seat of the session that asks, or nothing; 4 ids, 16 bytes each; 5 the fate of their receipts.
-- Answers O to be run with the outbox; or the seat, for each id a digit (1: it was there and in time; and 2: its outcome waits in the outbox), and the ids
-- that were removed: one string, which costs Redis less than three.
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
        if #sole > SOLE_BYTES then
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
        return seat .. there .. ids
    end
end

index_sole()
local fate = tonumber(ARGV[5])
-- Nothing is written before all of them are found.
local found, asked = {}, false
for at = 1, #ids, 16 do
    local number, nonce = struct.unpack('>I8c8', ids, at)
    local entry
    if number == PASSING then
        asked = true
    else
        entry = find(number)
        if entry and entry:sub(1, 8) ~= nonce then
            entry = nil
        end
        asked = asked or (entry and asks_receipt(entry))
    end
    found[#found + 1] = { number, nonce, entry }
end
if asked and not OUTBOX then
    return 'O'
end
local there, removed, is_removed = {}, {}, {}
for place, it in ipairs(found) do
    local number, nonce, entry = it[1], it[2], it[3]
    local in_time = 0
    owes = false
    if number == PASSING then
        in_time = acknowledge_passing(nonce, fate) and 1 or 0
    elseif entry and not is_removed[number] then
        local _, id, _, expires = struct.unpack(ENTRY, entry)
        -- One that outlived its subscription is left to the sweep; there is none unless something is due.
        if earliest > now_ms or redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
            in_time = expires > now_ms and 1 or 0
            is_removed[number] = true
            removed[#removed + 1] = take_out(entry, number, in_time == 1 and fate or GIVEN_UP)
        end
    end
    there[place] = in_time + (owes and 2 or 0)
end
removed = table.concat(removed)
if removed ~= '' or asked then
    redis.call('HSET', RECORD, 'm', meta())
    if removed ~= '' and seat ~= by and is_elsewhere() then
        tell('R', removed)
    end
else
    write_nothing()
end
return seat .. table.concat(there) .. removed

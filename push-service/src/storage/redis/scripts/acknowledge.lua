-- Removes messages by whole id, from any session.
--
-- ARGV: 3 the seat of the session that asks, or nothing; 4 ids, 16 bytes each.
-- Answers the seat, a 1 or 0 for each id, and the ids that were removed: one string, which costs Redis less than three.
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
        redis.call('UNLINK', BODIES)
        messages, bytes, earliest, kept = 0, 0, 0, 0
        redis.call('HSET', RECORD, 'm', meta())
        if seat ~= by and is_elsewhere() then
            tell('R', ids)
        end
        return seat .. '1' .. ids
    end
end

index_sole()
local there, removed = {}, {}
for at = 1, #ids, 16 do
    local number, nonce = struct.unpack('>I8c8', ids, at)
    local entry = find(number)
    local in_time = '0'
    if entry and entry:sub(1, 8) == nonce then
        local _, id, _, expires = struct.unpack(ENTRY, entry)
        -- One that outlived its subscription is left to the sweep; there is none unless something is due.
        if earliest > now_ms or redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
            in_time = expires > now_ms and '1' or '0'
            removed[#removed + 1] = take_out(entry, number)
        end
    end
    there[#there + 1] = in_time
end
removed = table.concat(removed)
if removed ~= '' then
    redis.call('HSET', RECORD, 'm', meta())
    if seat ~= by and is_elsewhere() then
        tell('R', removed)
    end
else
    write_nothing()
end
return seat .. table.concat(there) .. removed

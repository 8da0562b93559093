-- Ends a subscription, or all and the record with them. Messages are on no page any more; sweeps free them.
--
-- ARGV: 3 which: n and its name, s and its id, or nothing for all; 4 how long in ms an empty record is kept for its seat.
-- Answers nothing if there was none; or the seat, whether an outcome waits in the outbox, the id if it is one with its
-- length in front, and ids of messages that left the window.
local which, empty_ms = ARGV[3], tonumber(ARGV[4])

-- Messages of a subscription, or all: about a step's worth. Of the rest the seat is told by sweeps.
local function messages_of(id)
    local found, place, examined = {}, '-inf', 0
    index_sole()
    while messages > 0 and #found < STEP and examined < EXAMINED do
        local entries = redis.call('ZRANGEBYSCORE', INDEX, place, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
        for at = 1, #entries, 2 do
            local nonce, of = struct.unpack(ENTRY, entries[at])
            if id == '' or of == id then
                found[#found + 1] = struct.pack('>I8', entries[at + 1] % LANE + EPOCH) .. nonce
            end
        end
        examined = examined + 100
        if #entries < 200 then
            break
        end
        place = '(' .. entries[#entries]
    end
    return table.concat(found)
end

local why = open(redis.call('HGET', RECORD, 'm'))
if why then
    if why == UNKNOWN then
        write_nothing()
    end
    return without_record(why, false)
end
local id, removed = '', ''
if which == '' then
    removed = messages_of(id)
    forget()
else
    local other = redis.call('HGET', RECORD, which)
    if not other then
        write_nothing()
        return false
    end
    local name
    if which:sub(1, 1) == 'n' then
        id, name = other:sub(1, 8), which:sub(2)
    else
        id, name = which:sub(2), other:sub(1, 16)
    end
    redis.call('HDEL', RECORD, 'n' .. name, 's' .. id)
    if seat ~= NOBODY then
        removed = messages_of(id)
    end
    local is_empty = redis.call('HLEN', RECORD) == 1
    if is_empty and seat == NOBODY then
        forget()
    else
        if is_empty then
            retained = now_ms + empty_ms
            redis.call('PEXPIRE', RECORD, retained - now_ms)
            -- Receipts are expected by receipt subscriptions, which have no other.
            redis.call('UNLINK', EXPECTED)
        end
        give_up_passing(id)
        if messages > 0 then
            -- Something may be due: the sweep that follows finds when the next thing is.
            earliest = now_ms
        end
        redis.call('HSET', RECORD, 'm', meta())
    end
end
if is_elsewhere() then
    if removed ~= '' then
        tell('R', removed)
    end
    tell('E', id)
end
return seat .. string.char(owes and 1 or 0, #id) .. id .. removed

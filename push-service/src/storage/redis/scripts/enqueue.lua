-- Accepts a push message: checks, replaces, makes room, numbers, stores and tells the seat, all or nothing.
--
-- ARGV: 3 subscription, 4 nonce, 5 packed: ttl in seconds, urgency, sealing key, size of the body, budget (messages,
-- bytes), rate (tokens a second, burst; 0: none), most bytes of a body in a wake-up; 6 topic, 7 header and body, 8 the
-- receipt subscription if a receipt is asked for: then this comes with the outbox.
-- Answers O to be run with the outbox; N no subscription; L and seconds: too fast; F full; P and who is told: passed on; S and what was stored.
local sub, nonce, topic, value, receipts = ARGV[3], ARGV[4], ARGV[6], ARGV[7], ARGV[8]
local ttl, urgency, sealed_by, size, most_messages, most_bytes, per_second, burst, inline =
    struct.unpack('>I4BBI4I4I8ddI4', ARGV[5])

local found = redis.call('HMGET', RECORD, 'm', 's' .. sub)
local why = open(found[1])
if why then
    return without_record(why, 'N')
end
local subscription = found[2]
if not subscription then
    return 'N'
end
local name = subscription:sub(1, 16)

if per_second > 0 then
    local _, tokens, looked_at = struct.unpack(SUBSCRIPTION, subscription)
    if looked_at == 0 then
        tokens = burst
    else
        tokens = math.min(tokens + math.max(now_us - looked_at, 0) / 1000000 * per_second, burst)
    end
    local allowed = tokens >= 1
    subscription = struct.pack(SUBSCRIPTION, name, allowed and tokens - 1 or tokens, now_us)
    if not allowed then
        redis.call('HSET', RECORD, 's' .. sub, subscription)
        return 'L' .. struct.pack('>d', (1 - tokens) / per_second)
    end
end

if ttl > 0 then
    index_sole()
end

-- What has to go, if anything: the message of the newcomer's topic, and when the queue is full, others by rule.
local removed, replaced, evicted, expired, asked = '', 0, 0, 0, false
local is_full = messages >= most_messages or bytes + size + OVERHEAD > most_bytes
if topic ~= '' or (is_full and ttl > 0) then
    local leaving, is_leaving = {}, {}
    local less_messages, less_bytes = 0, 0

    -- Plans that a message goes: nothing is changed before the plan is whole.
    local function give_up(entry, number, entry_size, fate)
        if is_leaving[number] then
            return false
        end
        is_leaving[number] = true
        leaving[#leaving + 1] = { entry, number, fate }
        asked = asked or asks_receipt(entry)
        less_messages, less_bytes = less_messages + 1, less_bytes + entry_size + OVERHEAD
        return true
    end

    local function fits()
        return messages + 1 - less_messages <= most_messages
            and bytes + size + OVERHEAD - less_bytes <= most_bytes
    end

    if topic ~= '' then
        local field = redis.call('HGET', BODIES, 't' .. sub .. topic)
        local number = field and struct.unpack('>I8', field)
        local entry = number and find(number)
        if entry then
            local _, _, entry_size, expires = struct.unpack(ENTRY, entry)
            if expires <= now_ms then
                expired = 1
            else
                replaced = 1
            end
            give_up(entry, number, entry_size, replaced == 1 and REPLACED or GIVEN_UP)
        end
    end

    if ttl > 0 and not fits() then
        -- All that waits, in the order of the rule: least urgent first, of those the oldest.
        local all, known, shares, dead = {}, {}, {}, {}
        local place = '-inf'
        while true do
            local entries = redis.call('ZRANGEBYSCORE', INDEX, place, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
            for at = 1, #entries, 2 do
                local _, id, entry_size, expires = struct.unpack(ENTRY, entries[at])
                local number = entries[at + 1] % LANE + EPOCH
                if known[id] == nil then
                    known[id] = redis.call('HEXISTS', RECORD, 's' .. id) == 1
                end
                if not known[id] then
                    -- It outlived its subscription.
                    dead[#dead + 1] = { 0, number, entries[at], entry_size }
                else
                    if expires <= now_ms then
                        dead[#dead + 1] = { expires, number, entries[at], entry_size }
                    end
                    local urgency_of = math.floor(entries[at + 1] / LANE)
                    all[#all + 1] = { id, number, entries[at], entry_size, urgency_of }
                    if not is_leaving[number] then
                        shares[id] = (shares[id] or 0) + entry_size + OVERHEAD
                    end
                end
            end
            if #entries < 200 then
                break
            end
            place = '(' .. entries[#entries]
        end
        -- Expired messages first, those that expired first in front.
        table.sort(dead, function(a, b)
            if a[1] ~= b[1] then
                return a[1] < b[1]
            end
            return a[2] < b[2]
        end)
        local dropped = 0
        for _, d in ipairs(dead) do
            if fits() or dropped == EVICTIONS then
                break
            end
            if give_up(d[3], d[2], d[4], GIVEN_UP) then
                dropped = dropped + 1
                local _, id = struct.unpack(ENTRY, d[3])
                if shares[id] then
                    shares[id] = shares[id] - d[4] - OVERHEAD
                end
                if d[1] > 0 then
                    expired = expired + 1
                end
            end
        end
        -- Then from the subscription with the largest share, the newcomer counted in.
        shares[sub] = (shares[sub] or 0) + size + OVERHEAD
        while not fits() do
            local largest
            for id, share in pairs(shares) do
                if not largest or share > shares[largest] or (share == shares[largest] and id < largest) then
                    largest = id
                end
            end
            local victim
            for _, candidate in ipairs(all) do
                if candidate[1] == largest and not is_leaving[candidate[2]] then
                    victim = candidate
                    break
                end
            end
            local is_newcomer = largest == sub and victim and urgency < victim[5]
            if not victim or is_newcomer or dropped + evicted == EVICTIONS then
                -- Refused: nothing changes but the rate bucket.
                if per_second > 0 then
                    redis.call('HSET', RECORD, 's' .. sub, subscription)
                end
                return 'F'
            end
            give_up(victim[3], victim[2], victim[4], GIVEN_UP)
            shares[largest] = shares[largest] - victim[4] - OVERHEAD
            evicted = evicted + 1
        end
    end

    if asked and not OUTBOX then
        return 'O'
    end
    local ids = {}
    for at, leaves in ipairs(leaving) do
        ids[at] = take_out(leaves[1], leaves[2], leaves[3])
    end
    removed = table.concat(ids)
    if removed ~= '' and is_elsewhere() then
        tell('R', removed)
    end
end

if ttl == 0 then
    if receipts then
        pass(nonce, receipts, sub)
    end
    redis.call('HSET', RECORD, 'm', meta(), 's' .. sub, subscription)
    if is_elsewhere() then
        tell('P', nonce .. sub .. name .. string.char(urgency, sealed_by, receipts and PASSING or 0), value)
    end
    return 'P' .. seat .. name .. (owes and '\2' or '\0') .. removed
end

local previous = last
local expires = now_ms + ttl * 1000
local is_due = earliest > 0 and earliest <= now_ms
local entry = struct.pack(ENTRY, nonce, sub, size, expires, sealed_by) .. topic
if receipts then
    entry = entry .. '\0'
end
local ttl_ms = ttl * 1000
--+ admit
if receipts then
    expect_fate(nonce, last, receipts, sub, WAITING, expires)
end
if per_second > 0 then
    redis.call('HSET', RECORD, 'm', meta(), 's' .. sub, subscription)
else
    redis.call('HSET', RECORD, 'm', meta())
end

if is_elsewhere() then
    if size <= inline then
        tell('S', struct.pack('>I8I8c8c8c16BI6B', last, previous, nonce, sub, name, urgency, ttl * 1000, sealed_by), value)
    else
        tell('A', '')
    end
end
return 'S' .. struct.pack('>I8I8c16c16BI4I4BI6', last, previous, seat, name, replaced, evicted, expired,
    (is_due and 1 or 0) + (owes and 2 or 0), now_ms) .. removed

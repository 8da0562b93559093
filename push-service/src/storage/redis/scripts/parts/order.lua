-- The orders of a long queue, by which the one that has to go is found without a look at the others (PR-43).
--
-- They are made when a long queue is full for the first time, or loses a subscription, and kept until it is short again: so a
-- queue that nobody fills costs nothing. VICTIMS, all with score 0: subscription, urgency, number, which sorts each
-- subscription's messages by the rule, least urgent first, of those the oldest. SUMS: below zero the bytes that wait for each
-- subscription, 's' and its id, so that the largest comes first, of equals the smaller id; above zero when each message
-- expires, 'n', number and urgency, or 1 if its subscription has ended.
local function order()
    --+ orders
    redis.call('UNLINK', victims)
    redis.call('UNLINK', sums)
    local shares, known, place = {}, {}, '-inf'
    while true do
        local entries = redis.call('ZRANGEBYSCORE', INDEX, place, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
        local places, moments = {}, {}
        for at = 1, #entries, 2 do
            local _, id, size, expires = struct.unpack(ENTRY, entries[at])
            local number, urgency = entries[at + 1] % LANE + EPOCH, math.floor(entries[at + 1] / LANE)
            if known[id] == nil then
                known[id] = redis.call('HEXISTS', RECORD, 's' .. id) == 1
            end
            if known[id] then
                shares[id] = (shares[id] or 0) + size + OVERHEAD
            else
                expires = 1
            end
            places[#places + 1], places[#places + 2] = 0, id .. struct.pack('>BI8', urgency, number)
            moments[#moments + 1], moments[#moments + 2] = expires, 'n' .. struct.pack('>I8B', number, urgency)
        end
        if #places > 0 then
            redis.call('ZADD', victims, unpack(places))
            redis.call('ZADD', sums, unpack(moments))
        end
        if #entries < 200 then
            break
        end
        place = '(' .. entries[#entries]
    end
    for id, share in pairs(shares) do
        redis.call('ZADD', sums, -share, 's' .. id)
    end
    redis.call('PEXPIRE', victims, kept - now_ms)
    redis.call('PEXPIRE', sums, kept - now_ms)
    ordered = true
end

-- Makes them if they are not there, or not whole.
local function be_ordered()
    if ordered then
        --+ orders
        if #redis.call('ZRANGE', victims, messages - 1, messages) == 1 then
            return false
        end
    end
    order()
    return true
end

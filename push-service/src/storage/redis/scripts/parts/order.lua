-- The orders of a long queue, with which the message to evict is found without reading the others (PR-43).
--
-- They are made when a long queue is full for the first time, and kept until it is short again. So other queues cost
-- nothing. Making them is the one ordinary step that touches a whole queue (PR-31): 4.5 ms for 1,000 messages. They are
-- dropped only when a hundred messages, or most of the queue, have left. So many pushes lie between two such steps.
--
-- VICTIMS, all with score 0: subscription, urgency, number. That sorts each subscription's messages by the rule: least
-- urgent first; of equal urgency, the oldest first. SUMS has two kinds of members. 's' and a subscription's id, with minus
-- the bytes that wait for it as score: so the largest comes first; of equal ones, the smaller id. 'n', number and urgency
-- of a message, with its expiry as score, or 1 if its subscription has ended.
local function make_orders()
    --+ orders
    redis.call('UNLINK', victims)
    redis.call('UNLINK', sums)
    local shares, known, place = {}, {}, '-inf'
    while true do
        local entries = redis.call('ZRANGEBYSCORE', INDEX, place, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
        local places, moments = {}, {}
        for at = 1, #entries, 2 do
            local _, id, size, expires = struct.unpack(layout.ENTRY, entries[at])
            local number, urgency = entries[at + 1] % LANE + EPOCH, math.floor(entries[at + 1] / LANE)
            if known[id] == nil then
                known[id] = redis.call('HEXISTS', RECORD, 's' .. id) == 1
            end
            if known[id] then
                shares[id] = (shares[id] or 0) + size + OVERHEAD
            else
                expires = 1
            end
            places[#places + 1], places[#places + 2] = 0, id .. struct.pack(layout.VICTIM, urgency, number)
            moments[#moments + 1], moments[#moments + 2] = expires, 'n' .. struct.pack(layout.MOMENT, number, urgency)
        end
        if #places > 0 then
            write_kept(kept - now_ms, 'ZADD', victims, unpack(places))
            write_kept(kept - now_ms, 'ZADD', sums, unpack(moments))
        end
        if #entries < 200 then
            break
        end
        place = '(' .. entries[#entries]
    end
    for id, share in pairs(shares) do
        redis.call('ZADD', sums, -share, 's' .. id)
    end
    ordered = true
end

-- Makes them if they do not exist or are incomplete.
local function ensure_orders()
    if ordered then
        --+ orders
        if #redis.call('ZRANGE', victims, messages - 1, messages) == 1 then
            return false
        end
    end
    make_orders()
    return true
end

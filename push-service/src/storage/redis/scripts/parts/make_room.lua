-- The queue is full for a new message of `size` bytes: chooses the messages to evict by the rule (PR-23). In a long queue
-- they are found in the orders, at a cost that does not grow with the queue (PR-43). A short queue is read whole.
--
-- Uses `give_up` and `fits` of enqueue.lua, which keep the plan; adds to `leaving`, `expired` and `evicted`, or ends the step
-- with QUEUE_FULL.
--+ order
local ordered_now = (ordered or messages >= ORDER_FROM) and ensure_orders()
local shares, offsets, dropped = {}, {}, 0
local next_of, look
if ordered then
    --+ orders
    -- The index entry of a message that the orders name.
    local function entry_at(number, urgency_of)
        local place = string.format('%.0f', urgency_of * LANE + (number - EPOCH))
        return redis.call('ZRANGEBYSCORE', INDEX, place, place)[1]
    end
    -- Expired messages first, those that expired first in front.
    if earliest <= now_ms then
        local dead = redis.call('ZRANGEBYSCORE', sums, '(0', now_ms, 'WITHSCORES', 'LIMIT', 0, EVICTIONS + 1)
        for at = 1, #dead, 2 do
            if fits() or dropped == EVICTIONS then
                break
            end
            local number, urgency_of = struct.unpack(layout.MOMENT, dead[at], 2)
            if give_up(entry_at(number, urgency_of), number, urgency_of, GIVEN_UP) then
                dropped = dropped + 1
                expired = expired + (dead[at + 1] ~= '1' and 1 or 0)
            end
        end
    end
    -- Reads the `shown` largest shares (bytes by subscription) into `shares`, and adds the new message to its own. `sums` has
    -- the shares before this step. So enough of them are read that at least one of the largest has lost nothing in this
    -- step, even if all others have.
    local own = -redis.call('ZADD', sums, 'INCR', 0, 's' .. sub)
    function look(shown)
        local largest = redis.call('ZRANGEBYSCORE', sums, '-inf', '(0', 'WITHSCORES', 'LIMIT', 0, shown)
        shares = { [sub] = own }
        for at = 1, #largest, 2 do
            shares[largest[at]:sub(2)] = -largest[at + 1]
        end
        for id, less in pairs(freed) do
            if shares[id] then
                shares[id] = shares[id] - less
            end
        end
        shares[sub] = shares[sub] + size + OVERHEAD
    end
    look(dropped > 0 and 2 * EVICTIONS + 2 or 3)
    -- The next message of a subscription to evict, by the rule.
    function next_of(id)
        while true do
            local offset = offsets[id] or 0
            local place = redis.call('ZRANGE', victims, '[' .. id, '(' .. id .. '\4', 'BYLEX', 'LIMIT', offset, 1)[1]
            if not place then
                return nil
            end
            offsets[id] = offset + 1
            local urgency_of, number = struct.unpack(layout.VICTIM, place, layout.ID_BYTES + 1)
            if not is_leaving[number] then
                return entry_at(number, urgency_of), number, urgency_of
            end
        end
    end
else
    -- All waiting messages in the order of the rule: least urgent first; of equal urgency, the oldest first.
    local queue, known, dead = {}, {}, {}
    local entries = redis.call('ZRANGEBYSCORE', INDEX, '-inf', '+inf', 'WITHSCORES')
    for at = 1, #entries, 2 do
        local _, id, entry_size, expires = struct.unpack(layout.ENTRY, entries[at])
        local number, urgency_of = entries[at + 1] % LANE + EPOCH, math.floor(entries[at + 1] / LANE)
        if known[id] == nil then
            known[id] = redis.call('HEXISTS', RECORD, 's' .. id) == 1
        end
        if not known[id] then
            -- The message outlived its subscription.
            dead[#dead + 1] = { 0, number, entries[at], urgency_of }
        else
            if expires <= now_ms then
                dead[#dead + 1] = { expires, number, entries[at], urgency_of }
            end
            queue[#queue + 1] = { id, number, entries[at], urgency_of }
            shares[id] = (shares[id] or 0) + entry_size + OVERHEAD
        end
    end
    -- Expired messages first, those that expired first in front.
    table.sort(dead, function(a, b)
        if a[1] ~= b[1] then
            return a[1] < b[1]
        end
        return a[2] < b[2]
    end)
    for _, d in ipairs(dead) do
        if fits() or dropped == EVICTIONS then
            break
        end
        if give_up(d[3], d[2], d[4], GIVEN_UP) then
            dropped = dropped + 1
            expired = expired + (d[1] > 0 and 1 or 0)
        end
    end
    for id, less in pairs(freed) do
        if shares[id] then
            shares[id] = shares[id] - less
        end
    end
    shares[sub] = (shares[sub] or 0) + size + OVERHEAD
    function next_of(id)
        for _, candidate in ipairs(queue) do
            if candidate[1] == id and not is_leaving[candidate[2]] then
                return candidate[3], candidate[2], candidate[4]
            end
        end
    end
end
-- Then evicts from the subscription with the largest share, the new message counted in.
while not fits() do
    if look and evicted == 2 then
        look(2 * EVICTIONS + 2)
    end
    local largest
    for id, share in pairs(shares) do
        if not largest or share > shares[largest] or (share == shares[largest] and id < largest) then
            largest = id
        end
    end
    local victim, number, urgency_of = next_of(largest)
    local is_newcomer = largest == sub and victim and urgency < urgency_of
    if not victim or is_newcomer or dropped + evicted == EVICTIONS then
        -- Refused: nothing changes but the rate bucket.
        if ordered_now then
            redis.call('HSET', RECORD, 'm', meta())
        end
        if per_second > 0 then
            redis.call('HSET', RECORD, 's' .. sub, subscription)
        end
        return layout.QUEUE_FULL
    end
    local _, _, entry_size = struct.unpack(layout.ENTRY, victim)
    give_up(victim, number, urgency_of, GIVEN_UP)
    shares[largest] = shares[largest] - entry_size - OVERHEAD
    evicted = evicted + 1
end

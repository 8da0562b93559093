-- A page of the queue: the messages that a session wants next, in the order of acceptance.

-- The next entries of a lane behind `place`.
local function refill(lane)
    local found = redis.call('ZRANGEBYSCORE', INDEX, '(' .. string.format('%.0f', lane.place), lane.ends,
        'WITHSCORES', 'LIMIT', 0, lane.chunk)
    lane.found, lane.at = found, 1
    lane.dry = #found < 2 * lane.chunk
    if #found > 0 then
        lane.place = tonumber(found[#found])
    end
end

-- The number at the front of a lane, or nil at its end.
local function front(lane)
    if lane.at > #lane.found then
        if lane.dry then
            return nil
        end
        refill(lane)
        if #lane.found == 0 then
            return nil
        end
    end
    return lane.found[lane.at + 1] % LANE + EPOCH
end

-- Answers the page's head and bodies. `wanted` is packed: after, minimum, messages, bytes, whether `scope` is all that
-- is wanted or all that is not.
local function page(wanted, scope)
    local after, minimum, limit, most_bytes, only = struct.unpack(layout.WANTED, wanted)
    local in_scope = {}
    for at = 1, #scope, layout.ID_BYTES do
        in_scope[scope:sub(at, at + layout.ID_BYTES - 1)] = true
    end
    check_count()
    local lanes, names = {}, {}
    if messages > 0 then
        for urgency = minimum, 3 do
            lanes[#lanes + 1] = {
                urgency = urgency,
                place = urgency * LANE + math.max(after, EPOCH) - EPOCH,
                ends = (urgency + 1) * LANE,
                chunk = math.min(limit + 1, 100),
                found = {},
                at = 1,
            }
        end
    end
    local rows, fields, weight, examined = {}, {}, 0, 0
    local more, upto, passed, garbage = false, after, after, false
    while true do
        local first, number
        for _, lane in ipairs(lanes) do
            local candidate = front(lane)
            if candidate and (not number or candidate < number) then
                first, number = lane, candidate
            end
        end
        if not first then
            upto = last
            break
        end
        if examined == EXAMINED then
            more, upto = true, passed
            break
        end
        examined = examined + 1
        local nonce, id, size, expires, sealed_by = struct.unpack(layout.ENTRY, first.found[first.at])
        if names[id] == nil then
            local subscription = redis.call('HGET', RECORD, 's' .. id)
            names[id] = subscription and subscription:sub(1, layout.NAME_BYTES)
        end
        if expires <= now_ms or not names[id] then
            -- Time or its subscription has left it behind: a sweep will drop it.
            garbage = true
        elseif (in_scope[id] or false) == (only == 1) then
            weight = weight + size
            if #rows >= limit or (weight > most_bytes and #rows > 0) then
                more = true
                break
            end
            rows[#rows + 1] = struct.pack(layout.PAGE_ROW, number, nonce, id, names[id], first.urgency,
                expires - now_ms, size, sealed_by)
            fields[#fields + 1] = struct.pack(layout.NUMBER, number)
            upto = number
        end
        passed = number
        first.at = first.at + 2
    end
    local answer = { false }
    if #fields > 0 then
        local bodies = redis.call('HMGET', BODIES, unpack(fields))
        for at = 1, #fields do
            answer[at + 1] = bodies[at] or ''
            garbage = garbage or not bodies[at]
        end
    end
    answer[1] = struct.pack(layout.PAGE_HEAD, upto, more and 1 or 0, garbage and 1 or 0) .. table.concat(rows)
    return answer
end

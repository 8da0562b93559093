-- Removes what is due of one user agent: expired messages, and those whose subscription has ended.
--
-- A long queue is swept by several calls, each from the score where the last one ended. The last one sets `earliest` to the
-- earliest expiry that was met, but only if no other step has changed `earliest` since the first call.
--
-- ARGV: 3 how many at most; then what the last call answered, or nothing in the first call: 4 the score to continue from, 5 the
-- earliest expiry met so far, 6 `earliest` as it was at the first call.
-- Answers how many expired, how many were freed, the seat, the ids and the LEFT fields of each (`counted.lua`), whether an
-- outcome waits in the outbox, and, if there may be more, the last three arguments of the next call.
local limit, from, met, began = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why then
    if why ~= UNKNOWN then
        return redis.error_reply(why)
    end
    -- What waited with a record that has gone.
    local given_up = give_up_waiting(0, '+inf', limit)
    local answer = { 0, given_up, NO_SEAT, '', owes and 1 or 0 }
    if given_up == limit then
        answer[6], answer[7], answer[8] = '', '', ''
    end
    return answer
end
check_count()
began = began or earliest
-- First the messages with TTL 0 that were not acknowledged in time.
local expired, freed, leaving = 0, give_up_waiting(MARKER, MARKER + now_ms, limit), {}
local place, examined = from ~= '' and '(' .. from or '-inf', 0
local finished, names = false, {}
-- Looks at twice as many entries as one step may remove, which takes 300 µs.
while not finished and examined < 2 * STEP and #leaving < limit do
    local entries = redis.call('ZRANGEBYSCORE', INDEX, place, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
    finished = #entries < 200
    for at = 1, #entries, 2 do
        if #leaving == limit then
            finished = false
            break
        end
        local entry, number = entries[at], entries[at + 1] % LANE + EPOCH
        local _, id, _, expires = struct.unpack(layout.ENTRY, entry)
        if names[id] == nil then
            names[id] = redis.call('HEXISTS', RECORD, 's' .. id) == 1
        end
        if not names[id] or expires <= now_ms then
            leaving[#leaving + 1] = { entry, number, GIVEN_UP, math.floor(entries[at + 1] / LANE) }
            if names[id] then
                expired = expired + 1
            else
                freed = freed + 1
            end
        elseif not met or expires < met then
            met = expires
        end
        place, from = '(' .. entries[at + 1], entries[at + 1]
        examined = examined + 1
    end
end
local removed, sought = '', earliest
--+ record_outcomes
--+ count_out
if finished and sought == began then
    earliest = met or 0
end
if #leaving > 0 or finished then
    redis.call('HSET', RECORD, 'm', meta())
end
if #leaving > 0 then
    removed = take_out(leaving)
end
if removed ~= '' and is_elsewhere() then
    tell(layout.WAKE_UP_REMOVED, removed:sub(1, layout.MESSAGE_ID_BYTES * #leaving))
end
local owed = owes and 1 or 0
if finished then
    return { expired, freed, seat, removed, owed }
end
return { expired, freed, seat, removed, owed, from, met and string.format('%.0f', met) or '', string.format('%.0f', began) }

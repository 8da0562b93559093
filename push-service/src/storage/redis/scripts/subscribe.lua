-- Makes a subscription, or finds the one of that name; makes the record with the first one.
--
-- ARGV: 3 name, 4 a fresh id, 5 the application server's key or nothing, 6 the seat to take or nothing, 7 numbers: SUBSCRIBE.
-- Answers CREATED or FOUND and the id, TOO_MANY, or UNKNOWN.
local name, fresh, key, mine = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local most, retention_ms, unused_ms, grains, only_known = struct.unpack(layout.SUBSCRIBE, ARGV[7])

-- The record's own fields, and the subscription of this name.
local found = redis.call('HMGET', RECORD, 'm', 'n' .. name)
-- Nothing, or why there is no record: then this step makes one.
local why = open_record(found[1])
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
if why and only_known == 1 then
    return layout.UNKNOWN
end
-- The last number of an earlier record, which the outbox keeps: no number is used twice (PR-7).
local before
if why then
    last, messages, bytes, earliest, kept, attached_since, attaches = 0, 0, 0, 0, 0, 0, 0
    seat = mine ~= '' and mine or NO_SEAT
    before = redis.call('HGET', OUTBOX, LAST)
    if before then
        last = struct.unpack(layout.NUMBER, before)
    end
    retained = 0
    unused = unused_ms < retention_ms
    found[2] = false
end
if unused then
    retention_ms = math.min(retention_ms, unused_ms)
end
local answer
if found[2] then
    answer = layout.FOUND .. found[2]:sub(1, layout.ID_BYTES)
    renew(retention_ms, grains, retention_ms)
    redis.call('HSET', RECORD, 'm', meta())
elseif (why and 0 or (redis.call('HLEN', RECORD) - 1) / 2) >= most then
    return layout.TOO_MANY
else
    answer = layout.CREATED .. fresh
    local created = struct.pack(layout.NAMED, fresh, math.floor(now_us / 1000000))
    if why then
        if 's' .. fresh == SUBSCRIBED then
            retention_ms = math.min(retention_ms, RECEIPTS_KEPT_MS)
        end
        retained = now_ms + retention_ms + math.floor(retention_ms / grains)
    end
    redis.call('HSET', RECORD, 'm', meta(), 'n' .. name, created .. key,
        's' .. fresh, struct.pack(layout.SUBSCRIPTION, name, 0, 0))
    if why then
        local refused = expire_new_record()
        if refused then
            return refused
        end
    else
        renew(retention_ms, grains, retention_ms)
        redis.call('HSET', RECORD, 'm', meta())
    end
    if before then
        redis.call('HDEL', OUTBOX, LAST)
    end
end
return answer

-- Takes in what another storage gave of a user agent. Adds what is not there, ends and replaces nothing that is.
--
-- ARGV: 3 packed: last number, until when it is retained, how many subscriptions follow; subscriptions, each packed: id,
-- name, when it was made, key or nothing; messages, each packed: number, nonce, subscription, urgency, expiry, sealing
-- key, size, topic, and behind it header and body.
-- Answers added subscriptions and messages, what was there already, what was in the way, what had expired.
local given_last, given_retained, subscriptions = struct.unpack('>I8I6I4', ARGV[3])
local ID, CREATED = '>c8c16I4', '>c8I4'
local MESSAGE = '>I8c8c8BI6BI4B'

local why = open(redis.call('HGET', RECORD, 'm'))
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
if why then
    format, last, seat, retained, messages, bytes = FORMAT, 0, NOBODY, 0, 0, 0
    earliest, kept, attached_since, attaches = 0, 0, 0, 0
end
index_sole()
local added, waiting, present, in_the_way, expired = 0, 0, 0, 0, 0
for at = 4, 3 + subscriptions do
    local id, name, created = struct.unpack(ID, ARGV[at])
    local named = redis.call('HGET', RECORD, 'n' .. name)
    if named and named:sub(1, 8) == id then
        present = present + 1
    elseif named or redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
        in_the_way = in_the_way + 1
    else
        redis.call('HSET', RECORD, 'n' .. name, struct.pack(CREATED, id, created) .. ARGV[at]:sub(29),
            's' .. id, struct.pack(SUBSCRIPTION, name, 0, 0))
        added = added + 1
    end
end
for at = 4 + subscriptions, #ARGV do
    local arriving = ARGV[at]
    local number, nonce, id, urgency, expires, sealed_by, size, topic_bytes, next = struct.unpack(MESSAGE, arriving)
    local topic = arriving:sub(next, next + topic_bytes - 1)
    local there = find(number)
    local of_topic = topic ~= '' and redis.call('HGET', BODIES, 't' .. id .. topic)
    local of_topic_entry = of_topic and find(struct.unpack('>I8', of_topic))
    local of_topic_expires = 0
    if of_topic_entry then
        local _
        _, _, _, of_topic_expires = struct.unpack(ENTRY, of_topic_entry)
    end
    if expires <= now_ms then
        expired = expired + 1
    elseif there and there:sub(1, 8) == nonce then
        present = present + 1
    elseif there or of_topic_expires > now_ms or number <= EPOCH or number >= EPOCH + LANE
        or redis.call('HEXISTS', RECORD, 's' .. id) == 0 then
        in_the_way = in_the_way + 1
    else
        local field = struct.pack('>I8', number)
        redis.call('HSET', BODIES, field, arriving:sub(next + topic_bytes))
        if topic ~= '' then
            redis.call('HSET', BODIES, 't' .. id .. topic, field)
        end
        redis.call('ZADD', INDEX, urgency * LANE + (number - EPOCH),
            struct.pack(ENTRY, nonce, id, size, expires, sealed_by) .. topic)
        messages, bytes, waiting = messages + 1, bytes + size + OVERHEAD, waiting + 1
        last = math.max(last, number)
        if earliest == 0 or expires < earliest then
            earliest = expires
        end
        if expires + 60000 > kept then
            kept = expires + 120000
        end
    end
end
local has_record = redis.call('HLEN', RECORD) > (why and 0 or 1)
if has_record then
    last = math.max(last, given_last)
    retained = math.max(retained, given_retained)
    redis.call('HSET', RECORD, 'm', meta())
    redis.call('PEXPIRE', RECORD, retained - now_ms)
    if kept > 0 then
        redis.call('PEXPIRE', INDEX, kept - now_ms)
        redis.call('PEXPIRE', BODIES, kept - now_ms)
    end
end
return { added, waiting, present, in_the_way, expired }

-- Accepts a push message: checks, replaces, makes room, numbers, stores and tells the seat, all or nothing.
--
-- ARGV: 3 subscription, 4 nonce, 5 numbers: ENQUEUE, RETENTION and, if the sender is counted, the sender; 6 topic, 7 header and
-- body, 8 the receipt subscription if a receipt is asked for: then this comes with the outbox.
-- Answers AGAIN, NO_SUBSCRIPTION or QUEUE_FULL; RATE_LIMITED and for how long; PASSED and who is told; STORED and what was
-- stored.
local sub, nonce, topic, value, receipts = ARGV[3], ARGV[4], ARGV[6], ARGV[7], ARGV[8]
local ttl, urgency, sealed_by, size, most_messages, most_bytes, per_second, burst, inline =
    struct.unpack(layout.ENQUEUE, ARGV[5])

local found = redis.call('HMGET', RECORD, 'm', 's' .. sub)
local why = open_record(found[1])
if why then
    return without_record(why, layout.NO_SUBSCRIPTION)
end
local subscription = found[2]
if not subscription then
    return layout.NO_SUBSCRIPTION
end
if ordered and not OUTBOX then
    return layout.AGAIN
end
local name = subscription:sub(1, layout.NAME_BYTES)

local _, tokens, looked_at = struct.unpack(layout.SUBSCRIPTION, subscription)
-- Without a rate it is written only once, to record that there was a message.
local writes_subscription = per_second > 0 or looked_at == 0
if per_second > 0 then
    if looked_at == 0 then
        tokens = burst
    else
        tokens = math.min(tokens + math.max(now_us - looked_at, 0) / 1000000 * per_second, burst)
    end
    local allowed = tokens >= 1
    subscription = struct.pack(layout.SUBSCRIPTION, name, allowed and tokens - 1 or tokens, now_us)
    if not allowed then
        redis.call('HSET', RECORD, 's' .. sub, subscription)
        return layout.RATE_LIMITED .. struct.pack(layout.LIMITED_ANSWER, (1 - tokens) / per_second)
    end
elseif looked_at == 0 then
    subscription = struct.pack(layout.SUBSCRIPTION, name, 0, 1)
end

if ttl > 0 then
    index_sole()
end

-- What has to go, if anything: the message of the newcomer's topic, and when the queue is full, others by rule.
local leaving, replaced, evicted, expired, asked = nil, 0, 0, 0, false
local is_full = messages >= most_messages or bytes + size + OVERHEAD > most_bytes
if is_full and ttl > 0 then
    if not OUTBOX then
        return layout.AGAIN
    end
    check_count()
end
if topic ~= '' or (is_full and ttl > 0) then
    local is_leaving, freed = {}, {}
    local less_messages, less_bytes = 0, 0
    leaving = {}

    -- Plans that a message goes: nothing is changed before the plan is whole.
    local function give_up(entry, number, urgency_of, outcome)
        if is_leaving[number] then
            return false
        end
        local _, id, entry_size = struct.unpack(layout.ENTRY, entry)
        is_leaving[number] = true
        leaving[#leaving + 1] = { entry, number, outcome, urgency_of }
        asked = asked or asks_receipt(entry)
        less_messages, less_bytes = less_messages + 1, less_bytes + entry_size + OVERHEAD
        freed[id] = (freed[id] or 0) + entry_size + OVERHEAD
        return true
    end

    local function fits()
        return messages + 1 - less_messages <= most_messages
            and bytes + size + OVERHEAD - less_bytes <= most_bytes
    end

    if topic ~= '' then
        local field = redis.call('HGET', BODIES, 't' .. sub .. topic)
        local number = field and struct.unpack(layout.NUMBER, field)
        if number and ttl == 0 then
            -- The queue may be empty afterwards, and go: so the count has to be right.
            if not OUTBOX then
                return layout.AGAIN
            end
            check_count()
        end
        local entry, urgency_of
        if number then
            entry, urgency_of = find(number)
        end
        if entry then
            local _, _, _, expires = struct.unpack(layout.ENTRY, entry)
            if expires <= now_ms then
                expired = 1
            else
                replaced = 1
            end
            give_up(entry, number, urgency_of, replaced == 1 and REPLACED or GIVEN_UP)
        end
    end

    if ttl > 0 and not fits() then
--+ make_room
    end

    if asked and not OUTBOX then
        return layout.AGAIN
    end
end

if unused then
    -- The first message (PR-29): the record is kept for the whole retention, and extended before anything is stored (PR-39).
    local retention_ms, grains = struct.unpack(layout.RETENTION, ARGV[5], layout.ENQUEUE_BYTES + 1)
    unused = false
    retained = math.max(retained, now_ms + retention_ms + math.floor(retention_ms / grains))
    redis.call('PEXPIRE', RECORD, retained - now_ms)
end

if ttl == 0 then
    if receipts then
        pass(nonce, receipts, sub)
    end
    if leaving and #leaving > 0 then
        --+ record_outcomes
        --+ count_out
    end
    redis.call('HSET', RECORD, 'm', meta(), 's' .. sub, subscription)
    local removed = ''
    if leaving and #leaving > 0 then
        removed = take_out(leaving)
    end
    if is_elsewhere() then
        if removed ~= '' then
            tell(layout.WAKE_UP_REMOVED, removed:sub(1, layout.MESSAGE_ID_BYTES * #leaving))
        end
        tell(layout.WAKE_UP_PASSING, nonce .. sub .. name .. string.char(urgency, sealed_by, receipts and PASSING or 0), value)
    end
    return layout.PASSED .. seat .. name .. string.char(owes and layout.OWES or 0) .. removed
end

local previous = last
local expires = now_ms + ttl * 1000
local is_due = earliest > 0 and earliest <= now_ms
local entry = struct.pack(layout.ENTRY, nonce, sub, size, expires, sealed_by) .. topic
    .. ARGV[5]:sub(layout.ENQUEUE_BYTES + layout.RETENTION_BYTES + 1)
if receipts then
    entry = entry .. '\0'
end
local ttl_ms = ttl * 1000
last = math.max(last + 1, now_us, EPOCH + 1)
-- The order of writes (PR-39): the new message; then the record, from which on the message counts as stored; then the
-- evicted messages are removed.
if receipts then
    expect_outcome(nonce, last, receipts, sub, WAITING, expires)
end
--+ append
if leaving and #leaving > 0 then
    --+ count_out
end
if writes_subscription then
    redis.call('HSET', RECORD, 'm', meta(), 's' .. sub, subscription)
else
    redis.call('HSET', RECORD, 'm', meta())
end
if topic ~= '' then
    -- Not before the record: until then the topic's message is the one before.
    redis.call('HSET', BODIES, 't' .. sub .. topic, struct.pack(layout.NUMBER, last))
end
local removed = ''
if leaving and #leaving > 0 then
    removed = take_out(leaving)
end

if is_elsewhere() then
    if removed ~= '' then
        tell(layout.WAKE_UP_REMOVED, removed:sub(1, layout.MESSAGE_ID_BYTES * #leaving))
    end
    if size <= inline then
        tell(layout.WAKE_UP_STORED, struct.pack(layout.WAKE_UP_STORED_FIELDS, last, previous, nonce, sub, name, urgency,
            ttl * 1000, sealed_by), value)
    else
        tell(layout.WAKE_UP_READ_AGAIN, '')
    end
end
return layout.STORED .. struct.pack(layout.STORED_ANSWER, last, previous, seat, name, replaced, evicted, expired,
    (is_due and layout.DUE or 0) + (owes and layout.OWES or 0), now_ms) .. removed

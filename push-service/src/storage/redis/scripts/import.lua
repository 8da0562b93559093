-- Imports what another storage exported of a user agent. Adds what is not there; ends and replaces nothing that is.
--
-- ARGV: 3 numbers: IMPORT; subscriptions, each IMPORT_SUBSCRIPTION and its key, if it has one; messages, each IMPORT_MESSAGE,
-- its topic, and what is stored of it; outcomes, each OUTCOME; expected receipts, each IMPORT_EXPECTATION.
-- Answers how many subscriptions, messages and receipts were added; how many were there already; how many were refused
-- because something else is in their place; how many had expired;
-- and for each message a digit: whether it was added.
local given_last, given_retained, subscriptions, arrivals, outcomes, given_unused =
    struct.unpack(layout.IMPORT, ARGV[3])

local why = open_record(redis.call('HGET', RECORD, 'm'))
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
if why then
    format, last, seat, retained, messages, bytes = FORMAT, 0, NO_SEAT, 0, 0, 0
    earliest, kept, attached_since, attaches = 0, 0, 0, 0
    retained, unused = given_retained, given_unused == 1
else
    unused = unused and given_unused == 1
    check_count()
    if ordered then
        --+ drop_orders
    end
end
local taken, added, waiting, noted, present, in_the_way, expired = {}, 0, 0, 0, 0, 0, 0
for at = 4, 3 + subscriptions do
    local id, name, created = struct.unpack(layout.IMPORT_SUBSCRIPTION, ARGV[at])
    local named = redis.call('HGET', RECORD, 'n' .. name)
    if named and named:sub(1, layout.ID_BYTES) == id then
        present = present + 1
    elseif named or redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
        in_the_way = in_the_way + 1
    else
        -- A bucket that was last full long ago also means that there may be messages.
        local key = ARGV[at]:sub(layout.IMPORT_SUBSCRIPTION_BYTES + 1)
        redis.call('HSET', RECORD, 'm', meta(), 'n' .. name, struct.pack(layout.NAMED, id, created) .. key,
            's' .. id, struct.pack(layout.SUBSCRIPTION, name, 0, 1))
        if why and added == 0 then
            local refused = expire_new_record()
            if refused then
                return refused
            end
        end
        added = added + 1
    end
end
local messages_end = 3 + subscriptions + arrivals
for at = 4 + subscriptions, messages_end do
    local arriving = ARGV[at]
    local number, nonce, id, urgency, expires, sealed_by, size, asks, receipts, sender, topic_bytes, next =
        struct.unpack(layout.IMPORT_MESSAGE, arriving)
    local owed = asks == 1 and redis.call('HGET', OUTBOX, nonce)
    local topic = arriving:sub(next, next + topic_bytes - 1)
    local there = find(number)
    local of_topic = topic ~= '' and redis.call('HGET', BODIES, 't' .. id .. topic)
    local of_topic_entry = of_topic and find(struct.unpack(layout.NUMBER, of_topic))
    local of_topic_expires = 0
    taken[#taken + 1] = layout.NOT_DONE
    if of_topic_entry then
        local _
        _, _, _, of_topic_expires = struct.unpack(layout.ENTRY, of_topic_entry)
    end
    if expires <= now_ms then
        expired = expired + 1
    elseif there and there:sub(1, layout.NONCE_BYTES) == nonce then
        present = present + 1
    elseif there or of_topic_expires > now_ms or number <= EPOCH or number >= EPOCH + LANE
        or redis.call('HEXISTS', RECORD, 's' .. id) == 0 or (owed and outcome_of(owed) ~= WAITING) then
        in_the_way = in_the_way + 1
    else
        local field = struct.pack(layout.NUMBER, number)
        if asks == 1 and not owed then
            expect_outcome(nonce, number, receipts, id, WAITING, expires)
        end
        if expires + 60000 > kept then
            kept = expires + 120000
        end
        write_kept(kept - now_ms, 'HSET', BODIES, field, arriving:sub(next + topic_bytes))
        if topic ~= '' then
            redis.call('HSET', BODIES, 't' .. id .. topic, field)
        end
        write_kept(kept - now_ms, 'ZADD', INDEX, urgency * LANE + (number - EPOCH),
            struct.pack(layout.ENTRY, nonce, id, size, expires, sealed_by) .. topic
            .. (sender:byte(-1) > 0 and string.char(layout.WITH_SENDER) .. sender or '') .. (asks == 1 and '\0' or ''))
        taken[#taken] = layout.DONE
        messages, bytes, waiting, unused = messages + 1, bytes + size + OVERHEAD, waiting + 1, false
        last = math.max(last, number)
        if earliest == 0 or expires < earliest then
            earliest = expires
        end
    end
end
for at = messages_end + 1, messages_end + outcomes do
    local receipts, number, nonce, outcome = struct.unpack(layout.OUTCOME, ARGV[at])
    local owed = redis.call('HGET', OUTBOX, nonce)
    local is_number = number == PASSING or (number > EPOCH and number < EPOCH + LANE)
    if owed and outcome_of(owed) ~= WAITING and struct.unpack(layout.NUMBER, owed) == number then
        present = present + 1
    elseif owed or not is_number or find(number) then
        in_the_way = in_the_way + 1
    else
        expect_outcome(nonce, number, receipts, SUBSCRIBED:sub(2), outcome, now_ms)
        noted = noted + 1
    end
end
for at = messages_end + outcomes + 1, #ARGV do
    local message, url, deadline = struct.unpack(layout.IMPORT_EXPECTATION, ARGV[at])
    if redis.call('HEXISTS', EXPECTED, message) == 1 then
        present = present + 1
    elseif redis.call('HEXISTS', RECORD, SUBSCRIBED) == 0 then
        in_the_way = in_the_way + 1
    else
        put_expected(message, url, deadline)
        noted = noted + 1
    end
end
if redis.call('HLEN', RECORD) > 1 then
    last = math.max(last, given_last)
    retained = math.max(retained, given_retained)
    redis.call('HSET', RECORD, 'm', meta())
    redis.call('PEXPIRE', RECORD, retained - now_ms)
end
return { added, waiting, noted, present, in_the_way, expired, table.concat(taken) }

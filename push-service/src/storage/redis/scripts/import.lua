-- Takes in what another storage gave of a user agent. Adds what is not there, ends and replaces nothing that is.
--
-- ARGV: 3 packed: last number, until when it is retained, how many subscriptions, messages and outcomes follow, whether it
-- is unused; subscriptions, each packed: id, name, when it was made, key or nothing; messages, each packed: number, nonce,
-- subscription, urgency, expiry, sealing key, size, whether a receipt is asked for and by whom, sender, topic, and behind
-- it what is stored of it; outcomes, each packed: receipt subscription, number, nonce, fate; expected receipts, each packed: user
-- agent and nonce, dialect and sealing key, deadline.
-- Answers added subscriptions, messages and of receipts; what was there already, what was in the way, what had expired;
-- and for each message a digit: 1 if it was added.
local given_last, given_retained, subscriptions, arrivals, outcomes, given_unused =
    struct.unpack('>I8I6I4I4I4B', ARGV[3])
local ID, CREATED = '>c8c16I4', '>c8I4'
local MESSAGE, OUTCOME, EXPECTATION = '>I8c8c8BI6BI4Bc16c8B', '>c16I8c8B', '>c24c2I6'

local why = open(redis.call('HGET', RECORD, 'm'))
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
if why then
    format, last, seat, retained, messages, bytes = FORMAT, 0, NOBODY, 0, 0, 0
    earliest, kept, attached_since, attaches = 0, 0, 0, 0
    retained, unused = given_retained, given_unused == 1
else
    unused = unused and given_unused == 1
    whole()
    if ordered then
        --+ drop_orders
    end
end
local taken, added, waiting, noted, present, in_the_way, expired = {}, 0, 0, 0, 0, 0, 0
for at = 4, 3 + subscriptions do
    local id, name, created = struct.unpack(ID, ARGV[at])
    local named = redis.call('HGET', RECORD, 'n' .. name)
    if named and named:sub(1, 8) == id then
        present = present + 1
    elseif named or redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
        in_the_way = in_the_way + 1
    else
        -- A bucket that was last full long ago also means that there may be messages.
        redis.call('HSET', RECORD, 'm', meta(), 'n' .. name, struct.pack(CREATED, id, created) .. ARGV[at]:sub(29),
            's' .. id, struct.pack(SUBSCRIPTION, name, 0, 1))
        added = added + 1
    end
end
local messages_end = 3 + subscriptions + arrivals
for at = 4 + subscriptions, messages_end do
    local arriving = ARGV[at]
    local number, nonce, id, urgency, expires, sealed_by, size, asks, receipts, sender, topic_bytes, next =
        struct.unpack(MESSAGE, arriving)
    local owed = asks == 1 and redis.call('HGET', OUTBOX, nonce)
    local topic = arriving:sub(next, next + topic_bytes - 1)
    local there = find(number)
    local of_topic = topic ~= '' and redis.call('HGET', BODIES, 't' .. id .. topic)
    local of_topic_entry = of_topic and find(struct.unpack('>I8', of_topic))
    local of_topic_expires = 0
    taken[#taken + 1] = '0'
    if of_topic_entry then
        local _
        _, _, _, of_topic_expires = struct.unpack(ENTRY, of_topic_entry)
    end
    if expires <= now_ms then
        expired = expired + 1
    elseif there and there:sub(1, 8) == nonce then
        present = present + 1
    elseif there or of_topic_expires > now_ms or number <= EPOCH or number >= EPOCH + LANE
        or redis.call('HEXISTS', RECORD, 's' .. id) == 0 or (owed and fate_of(owed) ~= WAITING) then
        in_the_way = in_the_way + 1
    else
        local field = struct.pack('>I8', number)
        if asks == 1 and not owed then
            expect_fate(nonce, number, receipts, id, WAITING, expires)
        end
        redis.call('HSET', BODIES, field, arriving:sub(next + topic_bytes))
        if topic ~= '' then
            redis.call('HSET', BODIES, 't' .. id .. topic, field)
        end
        redis.call('ZADD', INDEX, urgency * LANE + (number - EPOCH),
            struct.pack(ENTRY, nonce, id, size, expires, sealed_by) .. topic
            .. (sender:byte(-1) > 0 and '\1' .. sender or '') .. (asks == 1 and '\0' or ''))
        taken[#taken] = '1'
        messages, bytes, waiting, unused = messages + 1, bytes + size + OVERHEAD, waiting + 1, false
        last = math.max(last, number)
        if earliest == 0 or expires < earliest then
            earliest = expires
        end
        if expires + 60000 > kept then
            kept = expires + 120000
        end
    end
end
for at = messages_end + 1, messages_end + outcomes do
    local receipts, number, nonce, fate = struct.unpack(OUTCOME, ARGV[at])
    local owed = redis.call('HGET', OUTBOX, nonce)
    local is_number = number == PASSING or (number > EPOCH and number < EPOCH + LANE)
    if owed and fate_of(owed) ~= WAITING and struct.unpack('>I8', owed) == number then
        present = present + 1
    elseif owed or not is_number or find(number) then
        in_the_way = in_the_way + 1
    else
        expect_fate(nonce, number, receipts, SUBSCRIBED:sub(2), fate, now_ms)
        noted = noted + 1
    end
end
for at = messages_end + outcomes + 1, #ARGV do
    local message, url, deadline = struct.unpack(EXPECTATION, ARGV[at])
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
    if kept > 0 then
        redis.call('PEXPIRE', INDEX, kept - now_ms)
        redis.call('PEXPIRE', BODIES, kept - now_ms)
    end
end
return { added, waiting, noted, present, in_the_way, expired, table.concat(taken) }

-- The sole message of a queue: its entry may stand beside its body, with urgency and number in front, instead of in an
-- index of its own. Most messages are that: the user agent is there, and has acknowledged all that came before.
--
-- Only enqueue and acknowledge know one. Every other step that reads the index puts it there first.
-- It has no topic, so a longer one asks for a receipt.
local SOLE, SOLE_HEAD, SOLE_ENTRY_AT, SOLE_BYTES = 'e', '>BI8', 10, 36

-- What a step left that Redis aborted between its writes: counts what waits anew. A message is stored when the record says
-- so: one with a later number was never confirmed, and nobody was told of it. Bounded by the budget of the queue.
local function mend()
    local entries = redis.call('ZRANGEBYSCORE', INDEX, '-inf', '+inf', 'WITHSCORES')
    local stray = {}
    messages, bytes, earliest = 0, 0, 0
    for at = 1, #entries, 2 do
        local number = entries[at + 1] % LANE + EPOCH
        local _, _, size, expires = struct.unpack(ENTRY, entries[at])
        if number > last or redis.call('HEXISTS', BODIES, struct.pack('>I8', number)) == 0 then
            stray[#stray + 1] = { entries[at], struct.pack('>I8', number) }
        else
            messages, bytes = messages + 1, bytes + size + OVERHEAD
            earliest = earliest == 0 and expires or math.min(earliest, expires)
            kept = math.max(kept, expires + 60000)
        end
    end
    if ordered then
        drop_orders()
    end
    if messages == 0 then
        kept = 0
        drop_queue()
    else
        for _, left in ipairs(stray) do
            redis.call('HDEL', BODIES, left[2])
            redis.call('ZREM', INDEX, left[1])
        end
        redis.call('PEXPIRE', INDEX, kept - now_ms)
        redis.call('PEXPIRE', BODIES, kept - now_ms)
    end
    redis.call('HSET', RECORD, 'm', meta())
end

-- Before the index is read: all that waits is in it, and nothing else is.
local function index_sole()
    if messages == 0 then
        return
    end
    local sole = messages == 1 and redis.call('HGET', BODIES, SOLE)
    if sole then
        local urgency, number = struct.unpack(SOLE_HEAD, sole)
        redis.call('ZADD', INDEX, urgency * LANE + (number - EPOCH), sole:sub(SOLE_ENTRY_AT))
        redis.call('PEXPIRE', INDEX, kept - now_ms)
        redis.call('HDEL', BODIES, SOLE)
    end
    -- As many as the record says: the last of them is there, and none behind it.
    if #redis.call('ZRANGE', INDEX, messages - 1, messages) ~= 1 then
        mend()
    end
end

-- Repairs what a step left that Redis aborted between its writes: counts the waiting messages again. A message with a number
-- above the record's last one was never stored: it was not confirmed, and no seat was told of it. Bounded by the limits of
-- the queue.
local function recount()
    local entries = redis.call('ZRANGEBYSCORE', INDEX, '-inf', '+inf', 'WITHSCORES')
    local stray, known = {}, {}
    messages, bytes, earliest = 0, 0, 0
    for at = 1, #entries, 2 do
        local number = entries[at + 1] % LANE + EPOCH
        local _, id, size, expires = struct.unpack(layout.ENTRY, entries[at])
        if known[id] == nil then
            known[id] = redis.call('HEXISTS', RECORD, 's' .. id) == 1
        end
        if not known[id] then
            -- The message outlived its subscription, so it is due.
            expires = math.min(expires, now_ms)
        end
        if number > last or redis.call('HEXISTS', BODIES, struct.pack(layout.NUMBER, number)) == 0 then
            stray[#stray + 1] = { entries[at], struct.pack(layout.NUMBER, number) }
        else
            messages, bytes = messages + 1, bytes + size + OVERHEAD
            earliest = earliest == 0 and expires or math.min(earliest, expires)
            kept = math.max(kept, expires + 60000)
        end
    end
    if ordered then
        --+ drop_orders
    end
    if messages == 0 then
        kept = 0
        --+ drop_queue
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

-- Call it before the index is read: then the index has exactly the waiting messages. Pushes and acknowledgements after which
-- the queue is neither full nor empty skip this, and the next step that reads the queue corrects the count.
local function check_count()
    index_sole()
    -- The index has as many messages as the record says: the last of them is there, and none after it.
    if messages > 0 and #redis.call('ZRANGE', INDEX, messages - 1, messages) ~= 1 then
        recount()
    end
end

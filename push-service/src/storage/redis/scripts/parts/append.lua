-- Appends a message to the queue, with the number `last`. The script has set `entry`, `topic`, `urgency`, `size`, `expires`,
-- `ttl_ms` and `value`. The message counts as stored when the record is written. After an abort before that, the next step
-- finds it in the index and not in the count, and removes it.
do
    local field = struct.pack(layout.NUMBER, last)
    if earliest == 0 or expires < earliest then
        earliest = expires
    end
    messages, bytes = messages + 1, bytes + size + OVERHEAD
    local is_sole = messages == 1 and topic == ''
    --+ orders_join
    local moves = expires + 60000 > kept
    if moves then
        -- At least a minute behind the last expiry, in which a sweep tells the seat of it; and some way ahead, so that the
        -- next messages needn't move it.
        kept = expires + math.max(120000, math.floor(ttl_ms / 8))
    end
    -- A key without an expiry would stay for ever (PR-29), so each expiry is set by the next call. If that is aborted, what was
    -- just written is taken back.
    if is_sole then
        redis.call('HSET', BODIES, field, value, SOLE, string.char(urgency) .. field .. entry)
    else
        redis.call('HSET', BODIES, field, value)
    end
    local refused = moves and redis.pcall('PEXPIRE', BODIES, kept - now_ms)
    if type(refused) == 'table' then
        redis.call('HDEL', BODIES, field, SOLE)
        return refused
    end
    if not is_sole then
        redis.call('ZADD', INDEX, urgency * LANE + (last - EPOCH), entry)
        refused = moves and redis.pcall('PEXPIRE', INDEX, kept - now_ms)
        if type(refused) == 'table' then
            redis.call('ZREM', INDEX, entry)
            return refused
        end
    end
    if moves then
        --+ orders_kept
    end
end

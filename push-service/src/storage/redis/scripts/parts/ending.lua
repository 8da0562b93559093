-- The first ENDING messages of a queue that ends with its record: their ids, and behind all of them the LEFT fields of each
-- (`counted.lua`). Call it before `forget`. Further messages stay in the sums of senders until they would have expired.
local function ending()
    if messages == 0 then
        return ''
    end
    local sole = messages == 1 and redis.call('HGET', BODIES, SOLE)
    if sole then
        local entry = sole:sub(layout.SOLE_ENTRY_AT)
        --+ counted
        return sole:sub(layout.SOLE_ID_AT, layout.SOLE_ID_AT + layout.MESSAGE_ID_BYTES - 1) .. counted
    end
    local ids, lefts = {}, {}
    local entries = redis.call('ZRANGEBYSCORE', INDEX, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, ENDING)
    for at = 1, #entries, 2 do
        local entry, number = entries[at], entries[at + 1] % LANE + EPOCH
        -- A later one was never stored: its step was aborted.
        if number <= last then
            ids[#ids + 1] = struct.pack(layout.NUMBER, number) .. entry:sub(1, layout.NONCE_BYTES)
            --+ counted
            lefts[#ids] = counted
        end
    end
    return table.concat(ids) .. table.concat(lefts)
end

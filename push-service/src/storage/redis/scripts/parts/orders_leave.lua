if short_again then
    --+ drop_orders
end
if ordered then
    --+ orders
    local shares, moments = {}, {}
    for at, leaves in ipairs(leaving) do
        local _, id, size = struct.unpack(layout.ENTRY, leaves[1])
        shares[id] = (shares[id] or 0) + size + OVERHEAD
        moments[at] = 'n' .. struct.pack(layout.MOMENT, leaves[2], leaves[4])
    end
    redis.call('ZREM', sums, unpack(moments))
    for id, share in pairs(shares) do
        -- No sum is kept for a subscription that has ended.
        if redis.call('HEXISTS', RECORD, 's' .. id) == 1 then
            redis.call('ZADD', sums, 'INCR', share, 's' .. id)
        end
    end
end

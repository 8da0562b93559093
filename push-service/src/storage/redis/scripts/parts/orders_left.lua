if ordered then
    --+ orders
    -- Removed last: until then the orders hold more than the queue, which shows that they are incomplete.
    local places = {}
    for at, leaves in ipairs(leaving) do
        local _, id = struct.unpack(layout.ENTRY, leaves[1])
        places[at] = id .. struct.pack(layout.VICTIM, leaves[4], leaves[2])
    end
    redis.call('ZREM', victims, unpack(places))
end

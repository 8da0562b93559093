if ordered then
    --+ orders
    -- The last of it: until then the orders hold more than waits, by which they are known not to be whole.
    local places = {}
    for at, leaves in ipairs(leaving) do
        local _, id = struct.unpack(ENTRY, leaves[1])
        places[at] = id .. struct.pack('>BI8', leaves[4], leaves[2])
    end
    redis.call('ZREM', victims, unpack(places))
end

if ordered then
    --+ orders
    local of = entry:sub(9, 16)
    redis.call('ZADD', victims, 0, of .. string.char(urgency) .. field)
    redis.call('ZADD', sums, expires, 'n' .. field .. string.char(urgency))
    redis.call('ZADD', sums, 'INCR', -(size + OVERHEAD), 's' .. of)
end

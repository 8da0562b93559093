if ordered then
    --+ orders
    local of = entry:sub(layout.ENTRY_ID_AT, layout.ENTRY_LEFT_AT - 1)
    redis.call('ZADD', victims, 0, of .. string.char(urgency) .. field)
    redis.call('ZADD', sums, expires, 'n' .. field .. string.char(urgency))
    redis.call('ZADD', sums, 'INCR', -(size + OVERHEAD), 's' .. of)
end

if ordered then
    --+ orders
    redis.call('PEXPIRE', victims, kept - now_ms)
    redis.call('PEXPIRE', sums, kept - now_ms)
end

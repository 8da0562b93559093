do
    --+ orders
    redis.call('UNLINK', victims)
    redis.call('UNLINK', sums)
    ordered = false
end

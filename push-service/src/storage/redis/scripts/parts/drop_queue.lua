-- One key a call: where a slot is half moved, Redis refuses a command that names several of which one is missing.
if ordered then
    --+ drop_orders
end
redis.call('UNLINK', INDEX)
redis.call('UNLINK', BODIES)

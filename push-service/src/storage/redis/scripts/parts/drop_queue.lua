-- One key in each call: in a half moved slot Redis refuses a command with several keys if one is missing.
if ordered then
    --+ drop_orders
end
redis.call('UNLINK', INDEX)
redis.call('UNLINK', BODIES)

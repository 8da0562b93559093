-- Whether a subscription is known.
--
-- ARGV: 3 its id.
local why = open(redis.call('HGET', RECORD, 'm'))
if why then
    return without_record(why, 0)
end
return redis.call('HEXISTS', RECORD, 's' .. ARGV[3])

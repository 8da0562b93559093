-- Whether a subscription is known, or whether there is a record at all.
--
-- ARGV: 3 the subscription's id, or empty to ask for the record; 4 a byte: 1 if "no" has to be confirmed.
local id, confirms = ARGV[3], ARGV[4]:byte() == 1
local why = open_record(redis.call('HGET', RECORD, 'm'))
if why and why ~= UNKNOWN then
    return redis.error_reply(why)
end
local found = not why and (id == '' or redis.call('HEXISTS', RECORD, 's' .. id) == 1)
if confirms and not found then
    write_nothing()
end
return found and 1 or 0

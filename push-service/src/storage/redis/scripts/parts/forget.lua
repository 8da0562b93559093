-- Takes the record away, with all that waits and is expected. What waits is given up in bounded steps: the rest is left to
-- sweeps, and at the latest to its expiry.
local function forget()
    redis.call('UNLINK', RECORD, INDEX, BODIES, EXPECTED)
    give_up_waiting(0, '+inf', STEP)
end

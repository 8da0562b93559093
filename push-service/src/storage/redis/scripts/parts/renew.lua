-- Moves the record's expiry if it has less than the retention left: to the retention and a grain, so that it moves seldom.
-- A record without subscriptions is kept for its seat alone.
local function renew(retention_ms, grains, empty_ms)
    if redis.call('HLEN', RECORD) == 1 then
        retention_ms = empty_ms
    end
    if retained < now_ms + retention_ms then
        retained = now_ms + retention_ms + math.floor(retention_ms / grains)
        redis.call('PEXPIRE', RECORD, retained - now_ms)
    end
end

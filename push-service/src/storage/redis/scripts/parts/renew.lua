-- Moves the record's expiry to a time and a grain later, if it stands before that time; so it moves seldom.
local function retain(kept_ms, grains)
    if retained < now_ms + kept_ms then
        retained = now_ms + kept_ms + math.floor(kept_ms / grains)
        redis.call('PEXPIRE', RECORD, retained - now_ms)
    end
end

-- To the retention. A record without subscriptions is kept for its seat alone, and a receipt subscription for a while.
local function renew(retention_ms, grains, empty_ms)
    if retained >= now_ms + retention_ms then
        return
    end
    if redis.call('HLEN', RECORD) == 1 then
        retention_ms = empty_ms
    elseif redis.call('HEXISTS', RECORD, SUBSCRIBED) == 1 then
        retention_ms = math.min(retention_ms, RECEIPTS_KEPT_MS)
    end
    retain(retention_ms, grains)
end

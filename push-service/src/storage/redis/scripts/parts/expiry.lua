-- Redis keeps what an aborted step has written, and a key without an expiry would stay for ever (PR-29). So whatever makes a key
-- sets its expiry in the next call. If that is aborted, what was just written is taken back, and the step ends.

-- Runs a command that writes to a key, and keeps the key for at least `ms` more.
local function write_kept(ms, command, key, ...)
    local left = redis.call('PTTL', key)
    redis.call(command, key, ...)
    if left < ms then
        local refused = redis.pcall('PEXPIRE', key, ms + math.floor(ms / 8))
        if type(refused) == 'table' then
            if left == -2 then
                -- This step has made it.
                redis.call('UNLINK', key)
            end
            error(refused)
        end
    end
end

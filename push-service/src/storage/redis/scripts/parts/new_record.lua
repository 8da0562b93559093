-- Sets the expiry of a record that this step has just made, or takes the record back. Answers nil, or why: the step has to end
-- with it. Redis keeps what an aborted step has written, and a record without an expiry would stay for ever (PR-29).
local function expire_new_record()
    local expiry = redis.pcall('PEXPIRE', RECORD, retained - now_ms)
    if type(expiry) == 'table' then
        redis.call('UNLINK', RECORD)
        return expiry
    end
end

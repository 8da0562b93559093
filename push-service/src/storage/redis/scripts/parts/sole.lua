-- The sole message of a queue: its entry may stand beside its body, with urgency and number in front, instead of in an
-- index of its own. Most messages are that: the user agent is there, and has acknowledged all that came before.
--
-- Only enqueue and acknowledge know one. Every other step that reads the index puts it there first.
-- It has no topic. Behind its entry stand a sender, if it is counted, and a zero, if a receipt was asked for. No sender ends
-- with a zero.
local SOLE = 'e'

-- To be run before the index is read: then it holds all waiting messages.
local function index_sole()
    if messages == 0 then
        return
    end
    local sole = messages == 1 and redis.call('HGET', BODIES, SOLE)
    if sole then
        local urgency, number = struct.unpack(layout.SOLE, sole)
        local entry = sole:sub(layout.SOLE_ENTRY_AT)
        redis.call('ZADD', INDEX, urgency * LANE + (number - EPOCH), entry)
        local refused = redis.pcall('PEXPIRE', INDEX, kept - now_ms)
        if type(refused) == 'table' then
            -- An index without an expiry would stay for ever (PR-29).
            redis.call('ZREM', INDEX, entry)
            error(refused)
        end
        redis.call('HDEL', BODIES, SOLE)
    end
end

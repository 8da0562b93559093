-- The record of a user agent, and the time.
--
-- KEYS: the bucket's mark, the record, the index of what waits, the bodies of what waits; for steps that may write to them:
-- the outbox, when something in it is due, whose outboxes are, receipts that are expected, when those of the bucket are.
-- ARGV[1]: the node's time in microseconds; in a test, with a letter in front, the time of the step. ARGV[2]: the
-- caller's incarnation. The server to which a slot moves runs a script only if all its keys exist, or if it has one
-- key. So the other keys follow the arguments there, and then their number (`links/moving_slot.rs`).
if #KEYS == 1 then
    for _ = 1, tonumber(table.remove(ARGV)) do
        table.insert(KEYS, 2, table.remove(ARGV))
    end
end
local MARK, RECORD, INDEX, BODIES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- Fates of messages that a receipt was asked for, and whether this step has put one that is final into the outbox.
local WAITING, GIVEN_UP, REPLACED, owes = 0, 2, 3, false

local NOBODY = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
local META = '>BI8c16I6I4I6I6I6I4B'
-- Of a subscription: its name, and its rate bucket.
local SUBSCRIPTION = '>c16dI8'
-- What the record of a receipt subscription has, and no other.
local SUBSCRIBED = 's' .. string.rep('\0', 8)

local node_us = tonumber(ARGV[1])
local now_us, is_apart
if node_us then
    local time = redis.call('TIME')
    now_us = time[1] * 1000000 + time[2]
    is_apart = math.abs(now_us - node_us) > APART_US
else
    now_us = tonumber(ARGV[1]:sub(2))
end
local now_ms = math.floor(now_us / 1000)

-- The number of the last message accepted; incarnation and session of the seat; until when the record is retained; what
-- waits; not later than its earliest expiry (0: nothing waits); how long index and bodies are kept; attaches of late.
-- A byte at the end says that the orders of a long queue exist (`order.lua`), or that the record is unused (PR-29). Never both,
-- because an unused record has no messages. A node of an older version writes a record without that byte; then the orders
-- count as absent, and the record as used.
local format, last, seat, retained, messages, bytes, earliest, kept, attached_since, attaches, ordered, unused

local function meta()
    return struct.pack(META, FORMAT, last, seat, retained, messages, bytes, earliest, kept, attached_since, attaches)
        .. (ordered and '\1' or unused and '\2' or '')
end

-- Takes the record in. Answers nil, or why there is none: UNKNOWN, or a trouble in which nobody may be called unknown.
local UNKNOWN = 'unknown'
local function open(packed)
    if is_apart then
        -- One of the two clocks has leapt. What ends by a wrong clock is lost.
        return 'TROUBLE the clocks of Redis and of this node are more than an hour apart: set both right'
    end
    if not packed then
        if redis.call('EXISTS', MARK) == 0 then
            return 'TROUBLE the store has lost the mark of its format: it came back empty, or was never set up here'
        end
        if redis.call('EXISTS', RECORD) == 1 then
            return 'TROUBLE a record is damaged: it says nothing of itself'
        end
        return UNKNOWN
    end
    if packed:byte(1) > FORMAT then
        return 'TROUBLE a record is in a newer format than this node reads: update the node'
    end
    format, last, seat, retained, messages, bytes, earliest, kept, attached_since, attaches =
        struct.unpack(META, packed)
    if #packed > 58 then
        ordered = packed:byte(59) == 1
        unused = not ordered
    end
    if retained <= now_ms then
        --+ drop_queue
        redis.call('UNLINK', RECORD)
        return UNKNOWN
    end
    if kept > 0 and kept <= now_ms then
        -- Index and bodies have expired with all that was in them.
        --+ drop_queue
        messages, bytes, earliest, kept = 0, 0, 0, 0
    end
end

-- For a step that found nothing to do: what it found may have been written over another connection and be confirmed by
-- nobody yet, and newer servers' `WAIT` waits for no more than what was written over its own (PR-33).
local function write_nothing()
    -- A mark that is missing must not come back by this.
    if redis.call('EXISTS', MARK) == 1 then
        redis.call('APPEND', MARK, '')
    end
end

-- The answer of a step that found no record.
local function without_record(why, answer)
    if why == UNKNOWN then
        return answer
    end
    return redis.error_reply(why)
end

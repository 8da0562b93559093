-- The record of a user agent.

-- Whether this step has put a final outcome into the outbox.
local owes = false
-- How messages ended that a receipt was asked for.
local WAITING, GIVEN_UP, REPLACED = layout.WAITING, layout.GIVEN_UP, layout.REPLACED

local NO_SEAT = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
-- What the record of a receipt subscription has, and no other.
local SUBSCRIBED = 's' .. string.rep('\0', layout.ID_BYTES)

-- The number of the last message accepted; incarnation and session of the seat; until when the record is retained; what
-- waits; not later than its earliest expiry (0: nothing waits); how long index and bodies are kept; attaches of late.
-- A byte at the end says that the orders of a long queue exist (`order.lua`), or that the record is unused (PR-29). Never both,
-- because an unused record has no messages. A node of an older version writes a record without that byte; then the orders
-- count as absent, and the record as used.
local format, last, seat, retained, messages, bytes, earliest, kept, attached_since, attaches, ordered, unused

local function meta()
    return struct.pack(layout.META, FORMAT, last, seat, retained, messages, bytes, earliest, kept, attached_since, attaches)
        .. (ordered and string.char(layout.META_ORDERED) or unused and string.char(layout.META_UNUSED) or '')
end

-- Reads the record. Answers nil, or why there is no record: UNKNOWN, or a sentence for the operator. With such a sentence no
-- user agent may be called unknown.
local UNKNOWN = 'unknown'
local function open_record(packed)
    if is_apart then
        return CLOCKS_APART
    end
    if not packed then
        if redis.call('EXISTS', MARK) == 0 then
            return MARK_LOST
        end
        if redis.call('EXISTS', RECORD) == 1 then
            return 'TROUBLE the record of a user agent is damaged, because its field m is missing: bring the data of Redis back '
                .. 'from a backup, and let no other program write to its keys'
        end
        return UNKNOWN
    end
    if packed:byte(1) > FORMAT then
        return 'TROUBLE a newer version of push-service wrote this record, in a newer format: update this node'
    end
    format, last, seat, retained, messages, bytes, earliest, kept, attached_since, attaches =
        struct.unpack(layout.META, packed)
    if #packed > layout.META_BYTES then
        ordered = packed:byte(layout.META_BYTES + 1) == layout.META_ORDERED
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

-- For a step that found nothing to do. What it found may have been written over another connection, and not be confirmed
-- yet. The `WAIT` of newer servers waits only for what was written over its own connection (PR-33).
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

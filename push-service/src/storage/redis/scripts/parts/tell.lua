-- Telling the seat, if it is another node's. The caller's own node is told by the answer.
local function is_elsewhere()
    return seat ~= NO_SEAT and seat:sub(1, layout.SESSION_AT - 1) ~= ARGV[2]
end

-- The body, if there is one, is an argument of its own: it is long, so it is copied once.
local function tell(kind, what, body)
    local high, low = struct.unpack('>I4I4', seat)
    local channel = MARK .. ':wake:' .. string.format('%08x%08x', high, low)
    redis.call('SPUBLISH', channel, layout.WAKE_UP_VERSION .. kind .. RECORD:sub(-32) .. seat:sub(layout.SESSION_AT) .. what .. (body or ''))
end

-- Receipts that are expected by a receipt subscription, and when those of the whole bucket have to be asked after.
--
-- EXPECTED: user agent and nonce, raw, to the dialect and sealing key of the message's URL and the deadline. DEADLINES:
-- receipt subscription, in hexadecimal, and the same, by the deadline in ms.
local EXPECTED, DEADLINES = KEYS[8], KEYS[9]

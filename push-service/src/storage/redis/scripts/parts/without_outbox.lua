-- The steps of every message come without the outbox, because functions that are made cost time though they are not called.
-- One that meets a message which a receipt was asked for answers O before it changes anything, and is run again with it.
local OUTBOX, owe, expect_outcome, pass, acknowledge_passing

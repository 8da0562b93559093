//! A message, as far as it counts for the sums of senders.

use push_protocol::MessageNumber;

use crate::defaults::{MESSAGE_OVERHEAD_BYTES, REDIS_SENDERS_SHORTEST_PART, REDIS_SENDERS_TTL_PARTS};
use crate::storage::SenderTag;

/// The part of a sum in which a message counts: all messages that expire within the same period. A period is at most an
/// eighth as long as their TTL ([`REDIS_SENDERS_TTL_PARTS`]), or a minute ([`REDIS_SENDERS_SHORTEST_PART`]) if that is longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Its length, as a power of two in milliseconds.
    length: u32,
    /// Which of the periods of that length, since 1970.
    index: u64,
}

impl Part {
    /// The same when a message joins and when it leaves: its number says when it came.
    pub(super) fn of(number: MessageNumber, expires_at_ms: u64) -> Self {
        let ttl_ms = expires_at_ms.saturating_sub(number.0 / 1_000);
        let length = (ttl_ms / REDIS_SENDERS_TTL_PARTS)
            .max(1 << REDIS_SENDERS_SHORTEST_PART)
            .ilog2();
        Self {
            length,
            index: expires_at_ms >> length,
        }
    }

    /// The field of a sum in Redis, which `senders.lua` reads.
    pub(super) fn spelled(self) -> String {
        format!("{:x}:{:x}", self.length, self.index)
    }
}

/// A message, as far as it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counted {
    pub(super) sender: Option<SenderTag>,
    pub(super) bytes: i64,
    pub(super) part: Part,
    pub(super) expires_at_ms: u64,
}

impl Counted {
    pub(super) fn new(
        sender: Option<SenderTag>,
        number: MessageNumber,
        body_bytes: u64,
        expires_at_ms: u64,
    ) -> Self {
        Self {
            sender,
            bytes: (body_bytes + MESSAGE_OVERHEAD_BYTES).cast_signed(),
            part: Part::of(number, expires_at_ms),
            expires_at_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    /// PR-43: a message counts in a part that is over soon after the message has expired, and the parts of one TTL are few.
    #[test]
    fn a_part_is_over_soon_after_its_messages() {
        for ttl_secs in [1, 60, 600, 3_600, 86_400, 30 * 86_400] {
            let part = Part::of(MessageNumber(NOW_MS * 1_000), NOW_MS + ttl_secs * 1_000);
            let over_ms = (part.index + 1) << part.length;
            let late_ms = over_ms - (NOW_MS + ttl_secs * 1_000);
            assert!(
                late_ms <= (ttl_secs * 1_000 / REDIS_SENDERS_TTL_PARTS).max(1 << REDIS_SENDERS_SHORTEST_PART),
                "{ttl_secs} s: {late_ms} ms late"
            );
            let parts = (ttl_secs * 1_000) >> part.length;
            assert!(
                parts <= 2 * REDIS_SENDERS_TTL_PARTS,
                "{ttl_secs} s: {parts} parts"
            );
        }
    }
}

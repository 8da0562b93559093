//! How many bytes of each sender wait (PR-42, PR-43). `caps.rs` has the rule by which they refuse a message.
//!
//! # What is counted
//!
//! The same bytes as for the limits of a queue: a body and [`MESSAGE_OVERHEAD_BYTES`](crate::defaults::MESSAGE_OVERHEAD_BYTES) for each message, from the step that stores it to
//! the step that removes it. Receipts, and messages without a [`SenderTag`], count for the store alone. The check comes
//! before the step and holds no lock during it. So the steps that are under way at one moment may go over a cap together,
//! each by one message.
//!
//! **Invariant:** [`Sums`] holds a sender exactly while messages of it wait, and at most [`SENDERS_COUNTED`] senders (more
//! only by the steps that are under way). Messages of further senders are stored without a tag and count for the store
//! alone. So a flood of made-up keys causes no refusal for another sender's cap.
//!
//! It deliberately does not know who a sender is, where sums are stored, or what a refusal looks like to an application
//! server. Nodes that share a Redis count in [`redis`](super::redis) instead of [`Sums`].

use std::collections::HashMap;
use std::num::NonZeroU64;

use push_protocol::KeyDigest;

use crate::defaults::SENDERS_COUNTED;

/// Who sent a message, as storage counts it: 8 bytes of a digest. Two senders with the same tag would share one sum, which is
/// too improbable to matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderTag(NonZeroU64);

impl SenderTag {
    /// The owner of an application server key.
    pub fn of_key(key: KeyDigest) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = key.0;
        Self::of_bits(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// An address, by a digest of it under a secret: no address can be read from a store.
    pub fn of_address(digest: NonZeroU64) -> Self {
        Self::of_bits(digest.get())
    }

    /// The last byte of a tag is never 0: in Redis, a zero at the end of an entry means that a receipt was asked for.
    fn of_bits(bits: u64) -> Self {
        Self(NonZeroU64::MIN | bits)
    }

    /// As it is stored.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    /// The reverse of [`to_bytes`](Self::to_bytes); `None` for eight zeros.
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        NonZeroU64::new(u64::from_be_bytes(bytes)).map(Self)
    }
}

/// Hides the sender.
impl std::fmt::Debug for SenderTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SenderTag(…)")
    }
}

/// How many counted bytes may wait. 0: no cap.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Caps {
    /// Of one sender.
    pub sender_bytes: u64,
    /// Of all.
    pub store_bytes: u64,
}

/// How many bytes wait of each sender.
#[derive(Default, Debug)]
pub(super) struct Sums(HashMap<SenderTag, u64>);

impl Sums {
    /// The sender, or `None` if it is new and there is no room for it.
    pub(super) fn counted(&self, sender: Option<SenderTag>) -> Option<SenderTag> {
        sender.filter(|sender| self.0.len() < SENDERS_COUNTED || self.0.contains_key(sender))
    }

    /// How many bytes wait of a sender.
    pub(super) fn of(&self, sender: SenderTag) -> u64 {
        self.0.get(&sender).copied().unwrap_or_default()
    }

    /// Counts what a step changed.
    pub(super) fn change(&mut self, changes: &SenderChanges) {
        for (sender, by) in changes.iter() {
            let bytes = self.of(sender).saturating_add_signed(by);
            self.set(sender, bytes);
        }
    }

    /// Sets a sum, as it was stored.
    pub(super) fn set(&mut self, sender: SenderTag, bytes: u64) {
        match bytes {
            0 => _ = self.0.remove(&sender),
            bytes => _ = self.0.insert(sender, bytes),
        }
    }

    /// All sums.
    #[cfg(test)]
    pub(super) fn all(&self) -> std::collections::BTreeMap<SenderTag, u64> {
        self.0.iter().map(|(sender, bytes)| (*sender, *bytes)).collect()
    }
}

/// What a step changed in the sums. Most steps change one sum, which needs no allocation.
#[derive(Default, Debug)]
pub(super) struct SenderChanges {
    first: Option<(SenderTag, i64)>,
    more: Vec<(SenderTag, i64)>,
}

impl SenderChanges {
    /// Adds `by` bytes to the sum of a sender, or subtracts them. Without a sender nothing changes.
    pub(super) fn add(&mut self, sender: Option<SenderTag>, by: i64) {
        let Some(sender) = sender else { return };
        match &mut self.first {
            None => self.first = Some((sender, by)),
            Some((first, bytes)) if *first == sender => *bytes += by,
            Some(_) => self.more.push((sender, by)),
        }
    }

    /// Each change; a sender may come more than once.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SenderTag, i64)> {
        self.first.iter().chain(&self.more).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tag hides itself, and is read back; its last byte says that there is one.
    #[test]
    fn a_tag_is_read_back() {
        for bytes in [[0; 32], [0xff; 32], [2; 32]] {
            let tag = SenderTag::of_key(KeyDigest(bytes));
            assert_eq!(SenderTag::from_bytes(tag.to_bytes()), Some(tag));
            assert_ne!(tag.to_bytes()[7], 0);
            assert_eq!(format!("{tag:?}"), "SenderTag(…)");
        }
        assert_eq!(SenderTag::from_bytes([0; 8]), None);
    }
}

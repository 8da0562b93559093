//! How many bytes of each sender wait, and the caps on one sender and on the whole store (PR-42, PR-43).
//!
//! # The rule
//!
//! A cap never removes an accepted message: 201 means stored. Beyond a cap the new message is refused, and nothing changes.
//! Only a full queue of one user agent gives up messages, by the eviction rule of [`queue`](super::queue). As the store
//! fills up, the least urgent messages are refused first ([`STORE_PERCENT`]), so a flood of ordinary messages leaves room
//! for urgent ones. Messages with TTL 0 are not stored, so they are neither counted nor refused. A message that would
//! replace one of its topic is refused like any other.
//!
//! # What is counted
//!
//! The bytes of the queue budget: a body and [`MESSAGE_OVERHEAD_BYTES`] for each message, from the step that stores it to
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

use push_protocol::{KeyDigest, Ttl, Urgency};

use super::{Enqueue, Enqueued};
use crate::defaults::{MESSAGE_OVERHEAD_BYTES, SENDERS_COUNTED, STORE_PERCENT};

/// Who sent a message, as storage counts it: 8 bytes of a digest. Two senders with the same tag would share one sum, which is
/// too improbable to matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderTag(NonZeroU64);

impl SenderTag {
    /// The owner of an application server key.
    pub fn of_key(key: KeyDigest) -> Self {
        let bytes = key.0.first_chunk().copied().unwrap_or_default();
        Self::of_bits(u64::from_be_bytes(bytes))
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

impl Caps {
    /// Why a message is refused; `None` if it is not. `of_sender` and `of_store` are the bytes that wait of its sender, if
    /// the sender is counted, and of all.
    pub(super) fn refuse(self, enqueue: &Enqueue, of_sender: Option<u64>, of_store: u64) -> Option<Enqueued> {
        if enqueue.ttl == Ttl::ZERO {
            return None;
        }
        let newcomer = enqueue.content.body.len() as u64 + MESSAGE_OVERHEAD_BYTES;
        let is_over = |waiting: u64, cap: u64| cap > 0 && waiting.saturating_add(newcomer) > cap;
        if of_sender.is_some_and(|waiting| is_over(waiting, self.sender_bytes)) {
            return Some(Enqueued::SenderFull);
        }
        is_over(of_store, self.store_room(enqueue.urgency)).then_some(Enqueued::StoreFull)
    }

    /// Up to how many bytes messages of that urgency may fill the store.
    fn store_room(self, urgency: Urgency) -> u64 {
        let percent = STORE_PERCENT[urgency as usize];
        let room = u128::from(self.store_bytes) * u128::from(percent) / 100;
        u64::try_from(room).unwrap_or(u64::MAX)
    }
}

/// Checks a message before its step: returns why it is refused, if it is. `of_sender` says how many bytes wait of its sender, or
/// `None` if the sender can't be counted. The tag of a sender that is not counted is removed.
pub(super) fn admit(
    enqueue: &mut Enqueue,
    of_store: u64,
    of_sender: impl FnOnce(SenderTag) -> Option<u64>,
) -> Option<Enqueued> {
    if enqueue.ttl == Ttl::ZERO {
        // It is not stored.
        enqueue.sender = None;
        return None;
    }
    let of_sender = enqueue.sender.and_then(of_sender);
    if of_sender.is_none() {
        enqueue.sender = None;
    }
    enqueue.caps.refuse(enqueue, of_sender, of_store)
}

/// How many bytes wait of each sender.
#[derive(Default, Debug)]
pub(super) struct Sums(HashMap<SenderTag, u64>);

impl Sums {
    /// [`admit`] by these sums.
    pub(super) fn admit(&self, enqueue: &mut Enqueue, of_store: u64) -> Option<Enqueued> {
        admit(enqueue, of_store, |sender| {
            self.counted(Some(sender)).map(|sender| self.of(sender))
        })
    }

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
    use crate::storage::contract::enqueue;

    fn tag(n: u8) -> SenderTag {
        SenderTag::of_key(KeyDigest([n; 32]))
    }

    /// PR-42: as the store fills up, the least urgent messages are refused first, and one with TTL 0 never.
    #[test]
    fn the_least_urgent_are_refused_first() {
        let caps = Caps {
            sender_bytes: 0,
            store_bytes: 100_000,
        };
        let filled_to = |percent: u64, urgency, ttl| {
            let newcomer = Enqueue {
                urgency,
                ttl,
                ..enqueue(1, 1, b"")
            };
            let waiting = caps.store_bytes * percent / 100 - MESSAGE_OVERHEAD_BYTES;
            (
                caps.refuse(&newcomer, None, waiting),
                caps.refuse(&newcomer, None, waiting + 1),
            )
        };
        let limits = [85, 90, 95, 100];
        for (urgency, percent) in Urgency::ALL.into_iter().zip(limits) {
            let (at, over) = filled_to(percent, urgency, Ttl::from_secs(9));
            assert_eq!((at, over), (None, Some(Enqueued::StoreFull)), "{urgency:?}");
            assert_eq!(filled_to(percent, urgency, Ttl::ZERO), (None, None));
        }
    }

    /// PR-43: senders are counted up to a bound. Those beyond it are not counted, and nobody is refused for them.
    #[test]
    fn a_flood_of_senders_is_not_counted() {
        let mut sums = Sums::default();
        for n in 0..SENDERS_COUNTED as u64 {
            sums.set(SenderTag::of_bits(2 * n), 5_000);
        }
        let caps = Caps {
            sender_bytes: 5_000,
            store_bytes: 0,
        };
        let from = |sender| Enqueue {
            sender: Some(sender),
            caps,
            ..enqueue(1, 1, b"one more")
        };
        let mut newcomer = from(tag(200));
        assert_eq!(sums.admit(&mut newcomer, 0), None);
        assert_eq!(newcomer.sender, None);
        let mut known = from(SenderTag::of_bits(2));
        assert_eq!(sums.admit(&mut known, 0), Some(Enqueued::SenderFull));
        // When all messages of one sender have left, another is counted.
        sums.set(SenderTag::of_bits(2), 0);
        let mut newcomer = from(tag(200));
        assert_eq!(sums.admit(&mut newcomer, 0), None);
        assert_eq!(newcomer.sender, Some(tag(200)));
    }

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

//! The caps on the bytes that wait of one sender and in the whole store: which messages they refuse (PR-42, PR-43).
//!
//! A cap never removes an accepted message: 201 means stored. Beyond a cap the new message is refused, and nothing changes.
//! Only a full queue of one user agent gives up messages, by the eviction rule of [`queue`](super::queue). As the store
//! fills up, the least urgent messages are refused first ([`store_percent`]), so a flood of ordinary messages leaves room
//! for urgent ones. Messages with TTL 0 are not stored, so they are neither counted nor refused. A message that would
//! replace one of its topic is refused like any other.

use push_protocol::{Ttl, Urgency};

use super::senders::{Caps, Sums};
use super::{Enqueue, Enqueued, SenderTag};
use crate::defaults::{MESSAGE_OVERHEAD_BYTES, store_percent};

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
        let room = u128::from(self.store_bytes) * u128::from(store_percent(urgency)) / 100;
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

impl Sums {
    /// [`admit`] by these sums.
    pub(super) fn admit(&self, enqueue: &mut Enqueue, of_store: u64) -> Option<Enqueued> {
        admit(enqueue, of_store, |sender| {
            self.counted(Some(sender)).map(|sender| self.of(sender))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::defaults::SENDERS_COUNTED;
    use crate::storage::contract::enqueue;

    fn tag(n: u64) -> SenderTag {
        SenderTag::of_address(NonZeroU64::new(2 * n + 1).unwrap())
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

    /// PR-43: senders are counted up to a bound. Those beyond it are not counted, and cause no refusal of others.
    #[test]
    fn a_flood_of_senders_is_not_counted() {
        let mut sums = Sums::default();
        for n in 0..SENDERS_COUNTED as u64 {
            sums.set(tag(n), 5_000);
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
        let mut newcomer = from(tag(u64::MAX / 2));
        assert_eq!(sums.admit(&mut newcomer, 0), None);
        assert_eq!(newcomer.sender, None);
        let mut known = from(tag(1));
        assert_eq!(sums.admit(&mut known, 0), Some(Enqueued::SenderFull));
        // When all messages of one sender have left, another is counted.
        sums.set(tag(1), 0);
        let mut newcomer = from(tag(u64::MAX / 2));
        assert_eq!(sums.admit(&mut newcomer, 0), None);
        assert_eq!(newcomer.sender, Some(tag(u64::MAX / 2)));
    }
}

//! The order in which the messages of a long queue are evicted, so that the cost of a push to a full queue does not
//! grow with the queue (PR-43).
//!
//! It is made when a long queue is full, and dropped when the queue is short again. Other queues have none.
//!
//! **Invariant:** while it exists, it holds exactly the waiting messages.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use push_protocol::{MessageNumber, SubscriptionId, Urgency};

use super::index::{Index, Waiting};
use super::{Share, Subscription, UserAgent};
use crate::defaults::{ORDER_BELOW, ORDER_FROM};

/// The waiting messages, sorted by the rules of eviction (PR-23).
#[derive(Default, Debug)]
pub(in crate::storage) struct EvictionOrder {
    /// Each subscription's messages, least urgent first; of equal urgency, the oldest first.
    victims: BTreeSet<(SubscriptionId, Urgency, MessageNumber)>,
    /// Subscriptions with waiting messages, the largest share of bytes first; of equal ones, the smaller id first.
    shares: BTreeSet<(Reverse<u64>, SubscriptionId)>,
    /// Messages by expiry.
    expiries: BTreeSet<(u64, MessageNumber)>,
}

impl EvictionOrder {
    fn of(subscriptions: &[Subscription], waiting: &Index) -> Self {
        let shares = subscriptions.iter().filter(|s| s.share != Share::default());
        let mut order = Self {
            shares: shares.map(|s| (Reverse(s.share.bytes), s.id)).collect(),
            ..Self::default()
        };
        for waiting in waiting.all() {
            order.victims.insert(victim(waiting));
            order.expiries.insert((waiting.expires_at_ms, waiting.id.number));
        }
        order
    }

    /// A subscription's share changed.
    fn moves(&mut self, id: SubscriptionId, before: Share, after: Share) {
        if before != Share::default() {
            self.shares.remove(&(Reverse(before.bytes), id));
        }
        if after != Share::default() {
            self.shares.insert((Reverse(after.bytes), id));
        }
    }

    /// Roughly how much memory it takes, in bytes.
    pub(in crate::storage) fn bytes(&self) -> usize {
        let message =
            size_of::<(SubscriptionId, Urgency, MessageNumber)>() + size_of::<(u64, MessageNumber)>();
        self.victims.len() * message + self.shares.len() * size_of::<(Reverse<u64>, SubscriptionId)>()
    }

    /// Shares, the largest first.
    pub(super) fn shares(&self) -> impl Iterator<Item = (u64, SubscriptionId)> {
        self.shares.iter().map(|(Reverse(bytes), id)| (*bytes, *id))
    }

    /// A subscription's messages in the order of eviction.
    pub(super) fn of_subscription(&self, id: SubscriptionId) -> impl Iterator<Item = MessageNumber> {
        let first = (id, Urgency::VeryLow, MessageNumber::START);
        let all = self.victims.range(first..).take_while(move |(of, ..)| *of == id);
        all.map(|(_, _, number)| *number)
    }

    /// Expired messages, those that expired first at the front.
    pub(super) fn expired(&self, now_ms: u64) -> impl Iterator<Item = MessageNumber> {
        let upto = (now_ms, MessageNumber(u64::MAX));
        self.expiries.range(..=upto).map(|(_, number)| *number)
    }
}

fn victim(waiting: &Waiting) -> (SubscriptionId, Urgency, MessageNumber) {
    (waiting.subscription, waiting.urgency, waiting.id.number)
}

impl UserAgent {
    /// Makes the order of a long queue.
    pub(super) fn order_if_long(&mut self) {
        if self.order.is_none() && self.waiting.len() >= ORDER_FROM {
            self.order = Some(Box::new(EvictionOrder::of(&self.subscriptions, &self.waiting)));
        }
    }

    /// A message joined the queue; `shares` are its subscription's before and after.
    pub(super) fn add_to_order(&mut self, waiting: &Waiting, shares: (Share, Share)) {
        if let Some(order) = &mut self.order {
            order.victims.insert(victim(waiting));
            order.expiries.insert((waiting.expires_at_ms, waiting.id.number));
            order.moves(waiting.subscription, shares.0, shares.1);
        }
    }

    /// A message left the queue; `shares` are its subscription's before and after.
    pub(super) fn remove_from_order(&mut self, waiting: &Waiting, shares: (Share, Share)) {
        if self.waiting.len() < ORDER_BELOW {
            self.order = None;
        }
        if let Some(order) = &mut self.order {
            order.victims.remove(&victim(waiting));
            order.expiries.remove(&(waiting.expires_at_ms, waiting.id.number));
            order.moves(waiting.subscription, shares.0, shares.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::storage::Retention;
    use crate::storage::clock::Now;
    use crate::storage::contract::{enqueue, name, subscribe};
    use crate::storage::{Enqueue, Enqueued, QueueLimits};

    /// PR-43: a long queue that is full has an order, and keeps it while it is long; pushes to a queue with room, and the
    /// end of a subscription that has no messages, make none.
    #[test]
    fn only_what_needs_the_order_makes_it() {
        let (mut queue, now) = (
            UserAgent::default(),
            Now {
                us: 1_700_000_000_000_000,
            },
        );
        let day = Retention::from(Duration::from_secs(86_400));
        for n in 1..=3 {
            queue.subscribe(&subscribe(1, n), day, now);
        }
        let full = 4 * ORDER_FROM;
        let push = |queue: &mut UserAgent, n: usize| {
            let queue_limits = QueueLimits {
                messages: full as u32,
                bytes: 1 << 20,
            };
            let request = Enqueue {
                queue_limits,
                ..enqueue(1, 1, &n.to_be_bytes())
            };
            queue.enqueue(request, day, now).outcome
        };
        for n in 0..full {
            assert!(matches!(push(&mut queue, n), Enqueued::Stored { evicted: 0, .. }));
        }
        queue.unsubscribe(name(2), now);
        assert!(queue.order.is_none(), "nothing has needed it");
        for n in 0..3 {
            let enqueued = push(&mut queue, full + n);
            assert!(
                matches!(enqueued, Enqueued::Stored { evicted: 1, .. }),
                "{enqueued:?}"
            );
            let order = queue.order.as_ref().expect("the queue is full");
            assert_eq!(order.victims.len(), full);
        }
    }
}

//! The order in which the messages of a long queue are evicted, so that the cost of a push to a full queue does not
//! grow with the queue (PR-43).
//!
//! It is made when a long queue is full, and dropped when the queue is short again. Other queues have none.
//!
//! **Invariant:** while it exists, it holds exactly the waiting messages.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use push_protocol::{MessageNumber, SubscriptionId, Urgency};

use super::index::{Index, IndexEntry};
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

fn victim(waiting: &IndexEntry) -> (SubscriptionId, Urgency, MessageNumber) {
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
    pub(super) fn add_to_order(&mut self, waiting: &IndexEntry, shares: (Share, Share)) {
        if let Some(order) = &mut self.order {
            order.victims.insert(victim(waiting));
            order.expiries.insert((waiting.expires_at_ms, waiting.id.number));
            order.moves(waiting.subscription, shares.0, shares.1);
        }
    }

    /// A message left the queue; `shares` are its subscription's before and after.
    pub(super) fn remove_from_order(&mut self, waiting: &IndexEntry, shares: (Share, Share)) {
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

    use push_protocol::Ttl;

    use super::super::enqueue::newcomer_bytes;
    use super::*;
    use crate::defaults::EVICTIONS_PER_STEP;
    use crate::storage::Retention;
    use crate::storage::clock::Now;
    use crate::storage::contract::model::Dice;
    use crate::storage::contract::{enqueue, name, subscribe, topic};
    use crate::storage::{Enqueue, Enqueued, QueueLimits, Removal};

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

    /// PR-23 and PR-30 by hand: the messages that leave for a newcomer, replaced and expired ones and victims, and how many of them are
    /// victims; `None`: it is refused.
    fn by_hand(queue: &UserAgent, request: &Enqueue, now: Now) -> Option<(Vec<MessageNumber>, usize)> {
        let is_replaced = |w: &&IndexEntry| {
            w.subscription == request.subscription
                && request.topic.is_some()
                && w.topic.as_deref() == request.topic.as_ref()
        };
        let (replaced, mut left): (Vec<_>, Vec<_>) = queue.waiting.all().partition(is_replaced);
        let mut gone: Vec<_> = replaced.iter().map(|w| w.id.number).collect();
        left.sort_by_key(|w| (w.expires_at_ms, w.id.number));
        let newcomer = newcomer_bytes(request);
        let bytes = |left: &[&IndexEntry]| left.iter().map(|w| w.counted_bytes()).sum::<u64>();
        let limits = request.queue_limits;
        let fits = |left: &[&IndexEntry]| {
            left.len() < limits.messages as usize && bytes(left) + newcomer <= limits.bytes
        };
        let (mut expired, mut evicted) = (0, 0);
        while !fits(&left) && expired < EVICTIONS_PER_STEP && left.first()?.has_expired(now.ms()) {
            gone.push(left.remove(0).id.number);
            expired += 1;
        }
        while !fits(&left) {
            if expired + evicted == EVICTIONS_PER_STEP {
                return None;
            }
            let share = |id: SubscriptionId| {
                let own: Vec<_> = left.iter().filter(|w| w.subscription == id).copied().collect();
                bytes(&own) + if id == request.subscription { newcomer } else { 0 }
            };
            let ids = queue.subscriptions.iter().map(|s| s.id);
            let largest = ids.max_by_key(|id| (share(*id), Reverse(*id)))?;
            let own = left.iter().enumerate().filter(|(_, w)| w.subscription == largest);
            let (at, victim) = own.min_by_key(|(_, w)| (w.urgency, w.id.number))?;
            if largest == request.subscription && request.urgency < victim.urgency {
                return None;
            }
            gone.push(left.remove(at).id.number);
            evicted += 1;
        }
        gone.sort_unstable();
        Some((gone, evicted))
    }

    /// The order as it has to be, and that it is there only while the queue is long.
    fn check(queue: &UserAgent) {
        let Some(order) = &queue.order else { return };
        assert!(queue.waiting.len() >= ORDER_BELOW);
        let all = || queue.waiting.all();
        assert!(
            order
                .victims
                .iter()
                .copied()
                .eq(all().map(victim).collect::<BTreeSet<_>>())
        );
        let expiries: BTreeSet<_> = all().map(|w| (w.expires_at_ms, w.id.number)).collect();
        assert_eq!(order.expiries, expiries);
        let shares = queue.subscriptions.iter().filter(|s| s.share.messages > 0);
        let shares: BTreeSet<_> = shares.map(|s| (Reverse(s.share.bytes), s.id)).collect();
        assert_eq!(order.shares, shares);
    }

    /// PR-23, PR-43: short and long queues evict what the rule says, message by message; and the order of a long one has exactly what
    /// waits, whatever comes and goes.
    #[test]
    fn the_rule_is_kept_message_by_message() {
        let (mut dice, _) = Dice::seeded();
        let day = Retention::from(Duration::from_secs(86_400));
        let (mut expirations, mut evictions, mut refusals, mut several) = (0, 0, 0, 0);
        for _ in 0..80 {
            let mut queue = UserAgent::default();
            let mut ms = 1_700_000_000_000;
            let mut known = Vec::new();
            for n in 1..=3 {
                queue.subscribe(&subscribe(1, n), day, Now { us: ms * 1_000 });
            }
            for nonce in 0..60 {
                ms += dice.below(400);
                let now = Now { us: ms * 1_000 };
                let total = queue.total();
                // Room for all of it, or for a few messages less.
                let less = [0, 0, 0, 2][dice.below(4) as usize];
                let less_bytes = [0, 0, 0, 400][dice.below(4) as usize];
                let request = Enqueue {
                    nonce,
                    ttl: Ttl::from_secs([1, 3, 60, 60][dice.below(4) as usize]),
                    urgency: Urgency::ALL[dice.below(4) as usize],
                    topic: topic("one").filter(|_| dice.below(8) == 0),
                    queue_limits: QueueLimits {
                        messages: (total.messages + 1).saturating_sub(less).clamp(2, 24),
                        bytes: (total.bytes + 200).saturating_sub(less_bytes).max(400),
                    },
                    ..enqueue(1, 1 + dice.below(3) as u8, &vec![7; dice.below(60) as usize])
                };
                let mut before: Vec<_> = queue.waiting.all().map(|w| w.id.number).collect();
                before.sort_unstable();
                let (was_ordered, was_long) = (queue.order.is_some(), before.len() >= ORDER_FROM);
                let expected = by_hand(&queue, &request, now);
                match (queue.enqueue(request, day, now).outcome, expected) {
                    (
                        Enqueued::Stored {
                            id, evicted, expired, ..
                        },
                        Some((gone, victims)),
                    ) => {
                        before.retain(|number| queue.waiting.get(*number).is_none());
                        assert_eq!((before, evicted as usize), (gone, victims));
                        expirations += expired;
                        evictions += evicted;
                        several += u32::from(was_long && evicted > 1);
                        known.push(id);
                    }
                    (Enqueued::QueueFull, None) => refusals += 1,
                    (outcome, expected) => panic!("{outcome:?}, by hand {expected:?}"),
                }
                assert!(was_ordered || was_long || queue.order.is_none(), "it is short");
                check(&queue);
                if dice.below(6) == 0 {
                    let id = known[dice.below(known.len() as u64) as usize];
                    queue.acknowledge(&[id], Removal::Acknowledged, None, now);
                    check(&queue);
                }
            }
        }
        let counts = [expirations, evictions, refusals, several];
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }

    /// PR-43: the order is given up when the queue is short again, and not before.
    #[test]
    fn a_short_queue_has_no_order() {
        let now = Now {
            us: 1_700_000_000_000_000,
        };
        let day = Retention::from(Duration::from_secs(86_400));
        let mut queue = UserAgent::default();
        queue.subscribe(&subscribe(1, 1), day, now);
        let mut ids = Vec::new();
        for n in 0..ORDER_FROM {
            assert!(queue.order.is_none());
            let stored = queue.enqueue(enqueue(1, 1, &n.to_be_bytes()), day, now).outcome;
            let Enqueued::Stored { id, .. } = stored else {
                panic!("{stored:?}")
            };
            ids.push(id);
            if n + 1 < ORDER_FROM {
                queue.order_if_long();
            }
        }
        queue.order_if_long();
        let mut bytes = queue.order.as_ref().expect("it is long").bytes();
        for left in (0..ORDER_FROM).rev() {
            let id = ids.pop().expect("it waits");
            queue.acknowledge(&[id], Removal::Acknowledged, None, now);
            assert_eq!(queue.order.is_some(), left >= ORDER_BELOW, "{left}");
            if let Some(order) = &queue.order {
                let message =
                    size_of::<(SubscriptionId, Urgency, MessageNumber)>() + size_of::<(u64, MessageNumber)>();
                assert_eq!(bytes - order.bytes(), message);
                bytes = order.bytes();
                let share = size_of::<(Reverse<u64>, SubscriptionId)>();
                assert_eq!(bytes, left * message + share);
            }
        }
    }
}

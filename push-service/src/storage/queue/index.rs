//! The index of the messages that wait for one user agent: by number, by urgency, by topic. It has no bodies, except those
//! that cannot be read from disk yet.
//!
//! There is one lane for each urgency, sorted by number. So reading only what is urgent enough skips the rest (PR-22), and
//! the first of a lane is its oldest (PR-23). Most acknowledged messages are at the front, where a lane removes an entry
//! without moving the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use push_protocol::{MessageId, MessageNumber, PushMessage, SubscriptionId, Topic, Urgency};

use super::{RemovalReason, RemovedMessage, SenderTag, Stored, WaitingMessage};
use crate::defaults::MESSAGE_OVERHEAD_BYTES;

/// A message that waits: what the index has of it.
#[derive(Clone, Debug)]
pub(in crate::storage) struct IndexEntry {
    pub(in crate::storage) id: MessageId,
    pub(in crate::storage) subscription: SubscriptionId,
    pub(in crate::storage) expires_at_ms: u64,
    pub(in crate::storage) topic: Option<Box<Topic>>,
    /// The message itself while it cannot be read from disk: for ever in `memory:`, until its commit in `embedded:`.
    pub(in crate::storage) message: Option<Arc<PushMessage>>,
    pub(in crate::storage) body_bytes: u32,
    pub(in crate::storage) urgency: Urgency,
    /// The sealing key of its message URLs.
    pub(in crate::storage) sealed_by: u8,
    /// The sender in whose sum it counts.
    pub(in crate::storage) sender: Option<SenderTag>,
}

impl IndexEntry {
    /// The entry of a message that joins the queue.
    pub(super) fn of(stored: &Stored) -> Self {
        let message = &stored.message;
        Self {
            id: message.id,
            subscription: message.subscription,
            expires_at_ms: stored.expires_at_ms,
            topic: stored.topic.map(Box::new),
            message: Some(Arc::clone(message)),
            body_bytes: count(message.content.body.len()),
            urgency: message.urgency,
            sealed_by: stored.sealed_by,
            sender: stored.sender,
        }
    }

    /// The bytes that it counts against the limits of the queue.
    pub(in crate::storage) fn counted_bytes(&self) -> u64 {
        counted_bytes(u64::from(self.body_bytes))
    }

    /// As the admin API shows it.
    pub(super) fn shown(&self) -> WaitingMessage {
        WaitingMessage {
            id: self.id,
            subscription: self.subscription,
            urgency: self.urgency,
            bytes: self.counted_bytes(),
            expires_at_ms: self.expires_at_ms,
            has_topic: self.topic.is_some(),
        }
    }

    pub(in crate::storage) fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms <= now_ms
    }

    /// What is told of it when it leaves without an acknowledgement.
    pub(super) fn removed(&self, why: RemovalReason) -> RemovedMessage {
        RemovedMessage {
            id: self.id,
            subscription: Some(self.subscription),
            why,
        }
    }
}

/// A number of messages or bytes as it is kept. No queue reaches the limit.
pub(super) fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

/// What a body of this size counts against the limits of a queue.
pub(super) fn counted_bytes(body_bytes: u64) -> u64 {
    body_bytes + MESSAGE_OVERHEAD_BYTES
}

/// All waiting messages. Owns no memory while nothing waits: most user agents are idle most of the time.
#[derive(Default, Debug)]
pub(in crate::storage) struct Index(Option<Box<Lanes>>);

#[derive(Default, Debug)]
struct Lanes {
    by_urgency: [VecDeque<IndexEntry>; 4],
    by_topic: HashMap<(SubscriptionId, Topic), MessageNumber>,
    /// **Invariant:** not later than the earliest expiry of any entry. May be earlier, after removals.
    earliest_expiry_ms: u64,
}

impl Index {
    pub(in crate::storage) fn len(&self) -> usize {
        self.lanes().iter().map(VecDeque::len).sum()
    }

    /// Adds an entry; its number need not be the highest, so that an index can be loaded in any order.
    pub(in crate::storage) fn insert(&mut self, waiting: IndexEntry) {
        let lanes = self.0.get_or_insert_with(|| {
            Box::new(Lanes {
                earliest_expiry_ms: u64::MAX,
                ..Lanes::default()
            })
        });
        lanes.earliest_expiry_ms = lanes.earliest_expiry_ms.min(waiting.expires_at_ms);
        if let Some(topic) = &waiting.topic {
            let topic = (waiting.subscription, **topic);
            lanes.by_topic.insert(topic, waiting.id.number);
        }
        let lane = &mut lanes.by_urgency[waiting.urgency as usize];
        let position = lane.partition_point(|w| w.id.number < waiting.id.number);
        lane.insert(position, waiting);
    }

    pub(in crate::storage) fn get(&self, number: MessageNumber) -> Option<&IndexEntry> {
        self.lanes().iter().find_map(|lane| {
            let position = lane.binary_search_by_key(&number, |w| w.id.number).ok()?;
            lane.get(position)
        })
    }

    pub(in crate::storage) fn get_mut(&mut self, number: MessageNumber) -> Option<&mut IndexEntry> {
        let lanes = &mut self.0.as_mut()?.by_urgency;
        lanes.iter_mut().find_map(|lane| {
            let position = lane.binary_search_by_key(&number, |w| w.id.number).ok()?;
            lane.get_mut(position)
        })
    }

    pub(in crate::storage) fn remove(&mut self, number: MessageNumber) -> Option<IndexEntry> {
        let lanes = self.0.as_mut()?;
        let removed = lanes.by_urgency.iter_mut().find_map(|lane| {
            let position = lane.binary_search_by_key(&number, |w| w.id.number).ok()?;
            lane.remove(position)
        })?;
        if let Some(topic) = &removed.topic {
            let topic = (removed.subscription, **topic);
            if lanes.by_topic.get(&topic) == Some(&number) {
                lanes.by_topic.remove(&topic);
            }
        }
        if lanes.by_urgency.iter().all(VecDeque::is_empty) {
            self.0 = None;
        }
        Some(removed)
    }

    /// The one waiting message of a topic (RFC 8030 §5.4).
    pub(super) fn of_topic(&self, subscription: SubscriptionId, topic: Topic) -> Option<&IndexEntry> {
        let number = self.0.as_ref()?.by_topic.get(&(subscription, topic))?;
        self.get(*number)
    }

    /// The numbers of all messages of a subscription.
    pub(super) fn of_subscription(&self, subscription: SubscriptionId) -> Vec<MessageNumber> {
        let all = self.lanes().iter().flatten();
        all.filter(|w| w.subscription == subscription)
            .map(|w| w.id.number)
            .collect()
    }

    /// A time not later than the earliest expiry; `None` while nothing waits.
    pub(super) fn earliest_expiry_ms(&self) -> Option<u64> {
        self.0.as_ref().map(|lanes| lanes.earliest_expiry_ms)
    }

    /// The expired messages, those that expired first at the front. Costs a look at every entry only when one of them
    /// may have expired since the last call.
    pub(super) fn expired(&mut self, now_ms: u64) -> Vec<MessageNumber> {
        let Some(lanes) = self.0.as_mut().filter(|l| l.earliest_expiry_ms <= now_ms) else {
            return Vec::new();
        };
        let mut expired = Vec::new();
        let mut earliest_ms = u64::MAX;
        for waiting in lanes.by_urgency.iter().flatten() {
            earliest_ms = earliest_ms.min(waiting.expires_at_ms);
            if waiting.has_expired(now_ms) {
                expired.push((waiting.expires_at_ms, waiting.id.number));
            }
        }
        lanes.earliest_expiry_ms = earliest_ms;
        expired.sort_unstable();
        expired.into_iter().map(|(_, number)| number).collect()
    }

    /// The messages of at least that urgency with a higher number, in the order of acceptance.
    pub(super) fn after(&self, number: MessageNumber, minimum: Urgency) -> impl Iterator<Item = &IndexEntry> {
        let mut tails = self.lanes().iter().skip(minimum as usize).map(|lane| {
            let start = lane.partition_point(|w| w.id.number <= number);
            lane.range(start..).peekable()
        });
        let mut tails = [tails.next(), tails.next(), tails.next(), tails.next()];
        std::iter::from_fn(move || {
            let first = tails
                .iter_mut()
                .flatten()
                .filter_map(|tail| Some((tail.peek()?.id.number, tail)))
                .min_by_key(|(number, _)| *number);
            first.and_then(|(_, tail)| tail.next())
        })
    }

    /// All messages.
    pub(super) fn all(&self) -> impl Iterator<Item = &IndexEntry> {
        self.lanes().iter().flatten()
    }

    /// The messages of one subscription from the least urgent to the most, in each urgency from the oldest: the order
    /// in which the eviction rule takes them.
    pub(super) fn least_wanted(&self, subscription: SubscriptionId) -> impl Iterator<Item = &IndexEntry> {
        let all = self.lanes().iter().flatten();
        all.filter(move |w| w.subscription == subscription)
    }

    fn lanes(&self) -> &[VecDeque<IndexEntry>] {
        self.0.as_ref().map_or(&[], |lanes| &lanes.by_urgency)
    }
}

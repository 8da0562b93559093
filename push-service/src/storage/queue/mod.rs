//! The decision core: every step of storage on one user agent, decided without I/O.
//!
//! A storage hands in the state of a user agent, the request and the time. It gets back an answer and a list of [`Changes`]:
//! what a journal has to write, and which sessions to tell. `memory:` keeps the state and ignores the journal's part;
//! `embedded:` writes it. So both decide alike, and the rules of the promise stand in one place.
//!
//! It deliberately does not know where bodies are, how changes become durable, or which user agent this is.

mod end;
mod enqueue;
mod eviction;
mod export;
mod import;
mod index;
mod order;
mod page;
mod receipt_state;
mod receipts;
mod remove;
mod step;
mod subscribe;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use push_protocol::{
    KeyDigest, MessageId, MessageNumber, PushMessage, ReceiptOutcome, SubscriptionId, SubscriptionName,
    Topic, UserAgentId,
};

use self::order::EvictionOrder;
use super::clock::{Now, millis};
use super::reports::LastSeen;
use super::{
    RECEIPTS, RemovalReason, RemovedMessage, Retention, Seat, SenderTag, SubscriptionReport, UserAgentReport,
    UserAgentSummary, WaitingMessage, WakeUp, Which,
};
use crate::defaults::WAITING_STEP;

pub(super) use export::UserAgentExport;
pub(super) use index::{Index, IndexEntry};
pub(super) use page::{PageDecision, Picked, PickedPage};
pub(super) use receipt_state::{
    Expectation, FIRST_RECEIPT_NUMBER, OutboxEntry, PassingMessage, ReceiptState,
};
pub(super) use step::{Changes, ReceiptChanges, Step, SweepMove};
pub(super) use subscribe::AttachDecision;

/// The state of one user agent.
///
/// A record exists while the user agent has a subscription, its seat is taken (PR-12), or it has an outbox (PR-25). The
/// default is the state of an unknown user agent.
#[derive(Default, Debug)]
pub(super) struct UserAgent {
    /// The number of the last message accepted.
    pub(super) last: MessageNumber,
    pub(super) seat: Option<Seat>,
    /// Until when an abandoned record is kept (PR-29).
    pub(super) retained_until_ms: u64,
    /// Whether its record is unused ([`Retention`](super::Retention)).
    pub(super) unused: bool,
    /// The one entry of this user agent in the sweep index, by which [`UserAgent::sweep`] is called in time.
    pub(super) sweep_at_ms: Option<u64>,
    /// Sorted by id, which is the order in which ties of the eviction rule are broken.
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) waiting: Index,
    /// The bytes that wait, of all subscriptions.
    pub(super) total_bytes: u64,
    /// The eviction order of a long queue that was full.
    pub(super) order: Option<Box<EvictionOrder>>,
    /// Messages of ended subscriptions: no longer waiting, not yet freed.
    pub(super) to_free: Vec<MessageNumber>,
    pub(super) receipt_state: ReceiptState,
    /// Whether the store has its record.
    pub(super) recorded: bool,
    /// Not kept across a restart.
    pub(super) attaches: Attaches,
}

/// How often the seat was taken within a minute (PR-15).
#[derive(Default, Debug)]
pub(super) struct Attaches {
    since_ms: u64,
    count: u8,
}

/// A subscription of the user agent.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) name: SubscriptionName,
    pub(super) created_at_secs: u64,
    pub(super) key: Option<Box<KeyDigest>>,
    /// Its part of what waits.
    pub(super) share: Share,
    /// Not kept across a restart or a long silence: a bucket that was not used for long is full.
    pub(super) bucket: Option<Bucket>,
}

/// How a message leaves the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leaving {
    Acknowledged,
    Removed(RemovalReason),
}

impl Leaving {
    /// What its receipt says.
    fn receipt(self) -> ReceiptOutcome {
        match self {
            Self::Acknowledged => ReceiptOutcome::Acknowledged,
            Self::Removed(RemovalReason::Replaced) => ReceiptOutcome::Replaced,
            Self::Removed(_) => ReceiptOutcome::GivenUp,
        }
    }
}

/// A part of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Share {
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

/// A token bucket as of its last use (PR-24).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at_us: u64,
}

/// A message that joined the queue, with what storage keeps of it beside itself.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) message: Arc<PushMessage>,
    pub(super) topic: Option<Topic>,
    pub(super) expires_at_ms: u64,
    pub(super) sealed_by: u8,
    pub(super) receipts: Option<UserAgentId>,
    pub(super) sender: Option<SenderTag>,
}

impl UserAgent {
    /// Whether a healthy store knows this user agent.
    pub(super) fn is_known(&self, now: Now) -> bool {
        self.seat.is_some() || (!self.subscriptions.is_empty() && now.ms() < self.retained_until_ms)
    }

    /// What the admin API shows.
    pub(super) fn report(&self, retention: Retention, now: Now) -> Option<UserAgentReport> {
        let total = self.total();
        self.is_known(now).then(|| UserAgentReport {
            messages: total.messages,
            bytes: total.bytes,
            last_number: self.last.0,
            seated: self.seat.is_some(),
            unused: self.unused,
            retained_for_secs: self.retained_until_ms.saturating_sub(now.ms()) / 1_000,
            last_seen: self.last_seen(self.seat.is_some()).ms(retention, now.ms()) / 1_000,
            subscriptions: self.subscriptions.iter().map(Subscription::report).collect(),
        })
    }

    /// What a list shows. `seated`, because a state that was read from disk does not know its seat.
    pub(super) fn summary(
        &self,
        user_agent: UserAgentId,
        seated: bool,
        retention: Retention,
        now: Now,
    ) -> Option<UserAgentSummary> {
        let total = self.total();
        let last_seen = self.last_seen(seated);
        (seated || self.is_known(now)).then(|| UserAgentSummary {
            user_agent,
            messages: total.messages,
            bytes: total.bytes,
            last_seen_ms: last_seen.ms(retention, now.ms()),
            seated,
            receipts: last_seen.receipts,
        })
    }

    fn last_seen(&self, seated: bool) -> LastSeen {
        LastSeen {
            retained_until_ms: self.retained_until_ms,
            unused: self.unused,
            seated,
            receipts: self.subscription(RECEIPTS).is_some(),
        }
    }

    /// Messages that wait and have not expired.
    pub(super) fn waiting_messages(&self, which: Which, now: Now) -> Vec<WaitingMessage> {
        let in_time = |waiting: &&IndexEntry| !waiting.has_expired(now.ms());
        match which {
            Which::First(limit) => {
                let all = self.waiting.all().filter(in_time);
                all.take(limit.min(WAITING_STEP)).map(IndexEntry::shown).collect()
            }
            Which::One(id) => {
                let one = self.waiting.get(id.number).filter(|waiting| waiting.id == id);
                one.filter(in_time).map(IndexEntry::shown).into_iter().collect()
            }
        }
    }

    /// What waits, of all subscriptions.
    fn total(&self) -> Share {
        Share {
            messages: index::count(self.waiting.len()),
            bytes: self.total_bytes,
        }
    }

    pub(super) fn subscription(&self, id: SubscriptionId) -> Option<&Subscription> {
        let position = self.subscriptions.binary_search_by_key(&id, |s| s.id).ok()?;
        self.subscriptions.get(position)
    }

    /// Adds a subscription, sorted by id.
    fn insert_subscription(&mut self, subscription: Subscription) {
        let position = self.subscriptions.partition_point(|s| s.id < subscription.id);
        self.subscriptions.insert(position, subscription);
    }

    fn subscription_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        let position = self.subscriptions.binary_search_by_key(&id, |s| s.id).ok()?;
        self.subscriptions.get_mut(position)
    }

    /// Takes a message out of the queue. If it has expired, that is how it leaves, whatever `how` says.
    fn take_out(
        &mut self,
        number: MessageNumber,
        how: Leaving,
        changes: &mut Changes,
        now: Now,
    ) -> Option<IndexEntry> {
        let waiting = self.waiting.remove(number)?;
        self.subtract_from_sums(&waiting);
        changes.subtract_from_gauges(&waiting);
        let how = if waiting.has_expired(now.ms()) {
            Leaving::Removed(RemovalReason::Expired)
        } else {
            how
        };
        if let Leaving::Removed(why) = how {
            changes.left.push(waiting.removed(why));
        }
        self.end_message(number, how.receipt(), changes);
        Some(waiting)
    }

    /// Puts a loaded or accepted message into the queue and into its subscription's share.
    ///
    /// A message whose subscription has ended waits to be freed.
    pub(super) fn put_in(&mut self, waiting: IndexEntry, receipts: Option<UserAgentId>) {
        self.last = self.last.max(waiting.id.number);
        if let Some(receipts) = receipts {
            self.receipt_state.request(waiting.id, receipts);
        }
        let Some(subscription) = self.subscription_mut(waiting.subscription) else {
            self.to_free.push(waiting.id.number);
            return;
        };
        let before = subscription.share;
        subscription.share.add(&waiting);
        let after = subscription.share;
        self.total_bytes += waiting.counted_bytes();
        self.add_to_order(&waiting, (before, after));
        self.waiting.insert(waiting);
    }

    /// A message left the index: takes it out of the sums.
    fn subtract_from_sums(&mut self, waiting: &IndexEntry) {
        let mut shares = (Share::default(), Share::default());
        if let Some(subscription) = self.subscription_mut(waiting.subscription) {
            shares.0 = subscription.share;
            subscription.share.remove(waiting);
            shares.1 = subscription.share;
        }
        self.total_bytes -= waiting.counted_bytes();
        self.remove_from_order(waiting, shares);
    }

    /// Tells the holder of the seat, if there is one, that these messages were removed.
    fn tell_removed(&self, removed: Vec<MessageId>, changes: &mut Changes) {
        if let Some(seat) = self.seat.filter(|_| !removed.is_empty()) {
            changes.wake_ups.push((seat, WakeUp::Removed(removed)));
        }
    }
}

impl Share {
    fn add(&mut self, waiting: &IndexEntry) {
        self.messages += 1;
        self.bytes += waiting.counted_bytes();
    }

    fn remove(&mut self, waiting: &IndexEntry) {
        self.messages -= 1;
        self.bytes -= waiting.counted_bytes();
    }
}

impl Subscription {
    fn report(&self) -> SubscriptionReport {
        SubscriptionReport {
            id: self.id.to_string(),
            name: self.name.to_string(),
            restricted: self.key.is_some(),
            messages: self.share.messages,
            bytes: self.share.bytes,
            created_at: self.created_at_secs,
        }
    }
}

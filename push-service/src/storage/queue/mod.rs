//! What happens to one user agent: every step of storage, decided without I/O.
//!
//! A storage hands in the state of a user agent, the request and the time, and gets back what came of it and a list of
//! [`Changes`]: what a journal has to write, whom to tell. `memory:` keeps the state and ignores the journal's part;
//! `embedded:` commits it. So both decide alike, and the rules of the promise stand in one place.
//!
//! It deliberately does not know where bodies are, how changes become durable, or which user agent this is.
//!
//! **Invariant:** the changes of a user agent's steps, applied in the order of the steps, are its state.

mod carry;
mod end;
mod enqueue;
mod eviction;
mod index;
mod ledger;
mod order;
mod page;
mod receipts;
mod remove;
mod subscribe;
mod sweep;

use std::sync::Arc;

use push_protocol::{
    KeyDigest, MessageId, MessageNumber, PushMessage, ReceiptOutcome, SubscriptionId, SubscriptionName,
    Topic, UserAgentId,
};

use self::order::Order;
use super::clock::{Now, millis};
use super::senders::SenderChanges;
use super::{Seat, SenderTag, SubscriptionReport, UserAgentReport, WakeUp};

pub(super) use carry::Leaving;
pub(super) use index::{Index, Waiting};
pub(super) use ledger::{Ended, Expectation, FIRST_PLACE, Ledger, Passing};
pub(super) use page::{Picked, PickedPage, Turned};
pub(super) use subscribe::Taken;

/// The state of one user agent.
///
/// A record exists while it has a subscription or its seat is taken (PR-12), or something is owed (PR-25); the default is
/// nobody.
#[derive(Default, Debug)]
pub(super) struct UserAgent {
    /// The number of the last message accepted.
    pub(super) last: MessageNumber,
    pub(super) seat: Option<Seat>,
    /// When an abandoned record vanishes (PR-29).
    pub(super) retained_until_ms: u64,
    /// Whether its record is unused ([`Retention`](super::Retention)).
    pub(super) unused: bool,
    /// The one entry of this user agent in the index by which [`UserAgent::sweep`] is called in time.
    ///
    /// **Invariant:** after each step, not later than the next moment at which something here is due.
    pub(super) sweep_at_ms: Option<u64>,
    /// Sorted by id, which is the order in which ties of the eviction rule are broken.
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) waiting: Index,
    /// The waiting bytes of each subscription.
    pub(super) total_bytes: u64,
    /// The eviction order of a long queue that was full.
    pub(super) order: Option<Box<Order>>,
    /// Messages of ended subscriptions: no longer waiting, not yet freed.
    pub(super) ended: Vec<MessageNumber>,
    pub(super) ledger: Ledger,
    /// Whether storage holds a record.
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
    /// Not kept across a restart or a long silence: a bucket that nobody looked at for long is full.
    pub(super) bucket: Option<Bucket>,
}

/// A part of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Share {
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

/// A token bucket as it was when it was last looked at (PR-24).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at_us: u64,
}

/// What a step decided.
#[derive(Debug)]
pub(super) struct Step<T> {
    pub(super) outcome: T,
    pub(super) changes: Changes,
}

/// What a step changed. Empty if nothing has to be written and nobody has to be told.
#[derive(Default, Debug)]
pub(super) struct Changes {
    /// The record is to be written as it stands now, or deleted if [`UserAgent::recorded`] is false now.
    pub(super) record: bool,
    /// This message joined the queue.
    pub(super) stored: Option<Stored>,
    /// These messages are gone.
    pub(super) removed: Vec<MessageNumber>,
    /// The entry in the sweep index moves.
    pub(super) sweep: Option<SweepMove>,
    /// What that does to the gauges.
    pub(super) usage: UsageChange,
    /// What the step changes in the sums of senders.
    pub(super) senders: SenderChanges,
    /// What the holder of the seat is told, before the changes are durable.
    pub(super) wake_ups: Vec<(Seat, WakeUp)>,
    /// What it did to the ledger: mostly nothing.
    pub(super) books: Option<Box<BookChanges>>,
}

/// What a step changed in the ledger.
#[derive(Default, Debug)]
pub(super) struct BookChanges {
    /// These joined the outbox, each in the place of its message, or in one of its own.
    pub(super) ended: Vec<(MessageNumber, Ended)>,
    /// This message passes by, and is remembered in a place of its own.
    pub(super) passes: Option<Passing>,
    /// From now on it is, or is not, among the user agents that have an outbox.
    pub(super) listed: Option<bool>,
    /// This is owed, and to be found again by its deadline.
    pub(super) expected: Option<Expectation>,
    /// These are owed no more.
    pub(super) forgotten: Vec<Expectation>,
    /// These receipts joined the queue.
    pub(super) receipts: Vec<Stored>,
    /// Who reads on when all of it is durable, and not before.
    pub(super) read_again: Option<Seat>,
}

impl Changes {
    /// Whether there is something to be made durable.
    pub(super) fn must_be_written(&self) -> bool {
        self.record
            || self.stored.is_some()
            || !self.removed.is_empty()
            || self.sweep.is_some()
            || self.books.is_some()
    }

    /// Whether something joined the outbox that no clearing has taken out.
    pub(super) fn owes(&self) -> bool {
        self.books.as_ref().is_some_and(|books| !books.ended.is_empty())
    }

    fn books(&mut self) -> &mut BookChanges {
        self.books.get_or_insert_default()
    }

    /// A message joined the queue.
    fn counts_in(&mut self, waiting: &Waiting) {
        let bytes = waiting.counted_bytes().cast_signed();
        self.usage.messages += 1;
        self.usage.bytes += bytes;
        self.senders.add(waiting.sender, bytes);
    }

    /// A message left the queue.
    fn counts_out(&mut self, waiting: &Waiting) {
        let bytes = waiting.counted_bytes().cast_signed();
        self.usage.messages -= 1;
        self.usage.bytes -= bytes;
        self.senders.add(waiting.sender, -bytes);
    }
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

/// From where to where; `None` is nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SweepMove {
    pub(super) from_ms: Option<u64>,
    pub(super) to_ms: Option<u64>,
}

/// A difference of [`super::Usage`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct UsageChange {
    pub(super) messages: i64,
    pub(super) bytes: i64,
    pub(super) user_agents: i64,
}

impl UserAgent {
    /// Whether a healthy store knows this user agent.
    pub(super) fn is_known(&self, now: Now) -> bool {
        self.seat.is_some() || (!self.subscriptions.is_empty() && now.ms() < self.retained_until_ms)
    }

    /// What support asks for.
    pub(super) fn report(&self, now: Now) -> Option<UserAgentReport> {
        let total = self.total();
        self.is_known(now).then(|| UserAgentReport {
            messages: total.messages,
            bytes: total.bytes,
            last_number: self.last.0,
            seated: self.seat.is_some(),
            unused: self.unused,
            retained_for_secs: self.retained_until_ms.saturating_sub(now.ms()) / 1_000,
            subscriptions: self.subscriptions.iter().map(Subscription::report).collect(),
        })
    }

    /// What waits, of all subscriptions.
    fn total(&self) -> Share {
        Share {
            messages: enqueue::count(self.waiting.len()),
            bytes: self.total_bytes,
        }
    }

    pub(super) fn subscription(&self, id: SubscriptionId) -> Option<&Subscription> {
        let place = self.subscriptions.binary_search_by_key(&id, |s| s.id).ok()?;
        self.subscriptions.get(place)
    }

    fn subscription_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        let place = self.subscriptions.binary_search_by_key(&id, |s| s.id).ok()?;
        self.subscriptions.get_mut(place)
    }

    /// Takes a message out of the queue. One that has expired was given up, whatever else happened to it then.
    fn take_out(
        &mut self,
        number: MessageNumber,
        how: ReceiptOutcome,
        changes: &mut Changes,
        now: Now,
    ) -> Option<Waiting> {
        let waiting = self.waiting.remove(number)?;
        self.count_out(&waiting);
        changes.counts_out(&waiting);
        let how = if waiting.has_expired(now.ms()) {
            ReceiptOutcome::GivenUp
        } else {
            how
        };
        self.part_with(number, how, changes);
        Some(waiting)
    }

    /// Puts a loaded or accepted message into the queue and into its subscription's share.
    ///
    /// A message whose subscription is not there has outlived it, and waits to be freed.
    pub(super) fn put_in(&mut self, waiting: Waiting, receipts: Option<UserAgentId>) {
        self.last = self.last.max(waiting.id.number);
        if let Some(receipts) = receipts {
            self.ledger.ask(waiting.id, receipts);
        }
        let Some(subscription) = self.subscription_mut(waiting.subscription) else {
            self.ended.push(waiting.id.number);
            return;
        };
        let before = subscription.share;
        subscription.share.add(&waiting);
        let after = subscription.share;
        self.total_bytes += waiting.counted_bytes();
        self.joins_order(&waiting, (before, after));
        self.waiting.insert(waiting);
    }

    /// A message left the index: takes it out of the sums.
    fn count_out(&mut self, waiting: &Waiting) {
        let mut shares = (Share::default(), Share::default());
        if let Some(subscription) = self.subscription_mut(waiting.subscription) {
            shares.0 = subscription.share;
            subscription.share.remove(waiting);
            shares.1 = subscription.share;
        }
        self.total_bytes -= waiting.counted_bytes();
        self.leaves_order(waiting, shares);
    }

    /// Tells the holder of the seat, if there is one, that these messages left storage.
    fn tell_removed(&self, removed: Vec<MessageId>, changes: &mut Changes) {
        if let Some(seat) = self.seat.filter(|_| !removed.is_empty()) {
            changes.wake_ups.push((seat, WakeUp::Removed(removed)));
        }
    }
}

impl Share {
    fn add(&mut self, waiting: &Waiting) {
        self.messages += 1;
        self.bytes += waiting.counted_bytes();
    }

    fn remove(&mut self, waiting: &Waiting) {
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

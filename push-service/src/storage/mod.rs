//! Storage of accepted push messages and subscriptions: a trait, and the guarantees that every implementation gives.
//!
//! Storage is the truth and a wake-up is a hint. Each step below is atomic: it happens whole or not at all, and two steps on
//! one user agent never mix. The contract suite holds every storage to the sentences written here.
//!
//! What it deliberately does not know: HTTP, WebSockets, tokens, VAPID, and connections. It knows seats: opaque pairs that
//! say which session of which process delivers to a user agent.
//!
//! # Durability
//!
//! A step that confirms a change (`subscribe`, `unsubscribe`, `enqueue` of a stored message, `acknowledge` with
//! [`Confirm::Durably`]) resolves when the change is as durable as this storage promises. A failed write
//! or sync is [`StorageError::Failed`] for every step of its batch, and for every later one (PR-5).
//!
//! # Cancel safety
//!
//! Dropping a step's future before its first poll means that it did not happen. Dropping it later loses the answer, not
//! the change: it may or may not have happened, as after a lost connection (PR-2).

pub(crate) mod by_user_agent;
mod caps;
pub mod clock;
#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
mod leases;
pub mod memory;
mod messages;
pub mod portable;
mod queue;
mod receipts;
pub mod redis;
mod reports;
mod retention;
mod seats;
mod senders;
mod spelling;
mod subscriptions;

use async_trait::async_trait;
pub use push_protocol::session::{Page, PageRequest, Scope, WakeUp};
use push_protocol::{MessageId, SubscriptionId, SubscriptionName, UserAgentId};

pub use self::messages::{
    Confirm, Enqueue, Enqueued, QueueLimits, Rate, Removal, RemovalReason, RemovedMessage, Swept,
};
pub use self::portable::{Cursor, Exported, Imported, Portable};
pub use self::receipts::{
    ExpectReceipt, MessageEnd, Overdue, PASSING_WITH_RECEIPT, RECEIPTS, RECEIPTS_NAME, ReceiptExpected,
    Traced,
};
pub use self::reports::{
    Listed, SubscriptionReport, Usage, UserAgentReport, UserAgentSummary, WaitingMessage, Which,
};
pub use self::retention::Retention;
pub use self::seats::{Announce, Attached, BUCKETS, Manner, NoSessions, Paged, Refreshed, Seat, bucket};
pub use self::senders::{Caps, SenderTag};
pub use self::subscriptions::{Ending, Subscribe, Subscribed};

/// Durable queues and subscriptions. See the module for what every step guarantees.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Makes a subscription, or finds the one of that name.
    ///
    /// Creates the user agent's record with its first subscription, taking the seat in the same step; renews the
    /// record's retention. A new record is unused until it is used ([`Retention`]). A record that exists keeps its seat as it
    /// is.
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError>;

    /// Ends the subscription that its user agent calls by that name (WebSocket), and returns its id; `None` if there was none.
    /// Its messages are never delivered again and are freed in bounded steps. The record stays while a session holds the seat
    /// (PR-12).
    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError>;

    /// Ends one subscription by its id, or all and with them the user agent's record (RFC 8030 §7.3). Returns whether anything
    /// ended. The messages are never delivered again and are freed in bounded steps. The holder of the seat is told.
    async fn end(&self, user_agent: UserAgentId, ending: Ending) -> Result<bool, StorageError>;

    /// Whether a healthy store knows this subscription of this user agent.
    async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError>;

    /// Accepts a push message, in one step: checks that its subscription exists, and its rate; removes the message of its topic
    /// and expired ones; checks the limits of the queue and evicts by rule; numbers and stores the message; tells the holder of the seat.
    ///
    /// Before that step, [`Enqueue::caps`] are checked: over a cap the message is refused, even if its subscription has
    /// ended. Steps at the same moment may go over a cap together, each by one message. With several nodes, a cap may be
    /// exceeded by the messages that come before the nodes have exchanged their sums.
    ///
    /// The number is `max(last + 1, storage clock in µs)`. A connected user agent is told at once, before the message is
    /// durable. A refusal changes nothing but the rate bucket. With TTL 0 nothing is stored and no number is taken, but
    /// rate and topic apply. The first message that is accepted makes the record a used one ([`Retention`]).
    async fn enqueue(&self, enqueue: Enqueue) -> Result<Enqueued, StorageError>;

    /// Takes the seat and reads the head of the queue in one step; renews the record's retention, and makes it a used one
    /// ([`Retention`]).
    async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Result<Attached, StorageError>;

    /// Compares the seats of many sessions with those in storage: one answer for each, in their order (PR-14).
    ///
    /// Takes a seat that is free, makes an unused record a used one, and renews the retention of a record that has less
    /// than nine tenths of it left.
    async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError>;

    /// Reads the next page, if the caller holds the seat or no session does.
    async fn page(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        page: PageRequest,
    ) -> Result<Paged, StorageError>;

    /// Gives the seat up, if the caller holds it.
    async fn release(&self, user_agent: UserAgentId, seat: Seat) -> Result<(), StorageError>;

    /// Removes messages by whole id, and returns for each whether it was there. Idempotent, from any session (PR-18).
    ///
    /// `by` is the seat of the session that acknowledges, if it is one: the holder of another seat is told that its window
    /// has room.
    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError>;

    /// Records that a receipt is expected, durably, before its message is stored (PR-25). `receipts` is a receipt subscription:
    /// a user agent with one subscription, whose messages are receipts.
    async fn expect_receipt(
        &self,
        receipts: UserAgentId,
        expected: ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError>;

    /// Turns expected receipts into receipts, in one step. For each end whose receipt is expected here, the expectation is
    /// removed and, unless the message was replaced, a message with a [`Receipt`](push_protocol::Receipt) as its body joins the
    /// queue. The first end of a message wins: one whose receipt is not expected (any more) is ignored.
    ///
    /// Durable when it resolves; the holder of the seat is told then and not before (PR-1). At most
    /// [`RECEIPT_STEP`](crate::defaults::RECEIPT_STEP) ends.
    async fn settle_receipts(&self, receipts: UserAgentId, ends: &[MessageEnd]) -> Result<(), StorageError>;

    /// The outbox of a user agent, oldest first, at most `limit` entries. What it returns is durable.
    ///
    /// The step that removes a message with [`Enqueue::receipts`] (acknowledge, replace, evict, expire, cancel, end) puts how
    /// it ended there. For messages of ended subscriptions, the step that frees them does.
    async fn outbox(&self, user_agent: UserAgentId, limit: usize) -> Result<Vec<MessageEnd>, StorageError>;

    /// Removes what was relayed from the outbox. Need not be durable at once.
    async fn clear_outbox(&self, user_agent: UserAgentId, messages: &[MessageId])
    -> Result<(), StorageError>;

    /// User agents whose outbox is not empty, at most `limit`: also those of which no hint came.
    async fn with_outbox(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError>;

    /// Expected receipts whose deadline is over, at most `limit`. Each is given once in
    /// [`RECEIPT_LEASE`](crate::defaults::RECEIPT_LEASE), so that nodes do not all work on the same ones.
    async fn overdue(&self, limit: usize) -> Result<Vec<Overdue>, StorageError>;

    /// What the user agent's receipt state says of a message (PR-25).
    async fn trace(&self, user_agent: UserAgentId, nonce: u64) -> Result<Traced, StorageError>;

    /// Removes up to `limit` of what is due: expired messages, messages of ended subscriptions, abandoned records. Fewer than
    /// `limit` in all means that nothing more is due. The cost grows with what is due, not with what is stored.
    async fn expire(&self, limit: usize) -> Result<Swept, StorageError>;

    /// What the admin API shows of a user agent.
    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError>;

    /// Messages that wait for a user agent and have not expired, without their contents; at most
    /// [`WAITING_STEP`](crate::defaults::WAITING_STEP). Nothing for a stranger. Takes no seat and ends nothing.
    async fn waiting(
        &self,
        user_agent: UserAgentId,
        which: Which,
    ) -> Result<Vec<WaitingMessage>, StorageError>;

    /// Lists user agents with a record, in an order of the store's own, from the start or from where an earlier call ended.
    /// Changes nothing.
    ///
    /// One call looks at a bounded number of records, about [`LIST_STEP`](crate::defaults::LIST_STEP), so it may have none
    /// although it is not the last. A user agent that comes or changes meanwhile may be there or not, and any may come twice.
    async fn list(&self, after: Option<&Cursor>) -> Result<Listed, StorageError>;

    /// Whether other processes write to it too. Their wake-ups may be lost on their way here (PR-14).
    fn is_shared(&self) -> bool {
        false
    }

    /// Gauges; `None` from a store that would have to count.
    fn usage(&self) -> Option<Usage>;

    /// Bytes that wait and count against [`Caps::store_bytes`]; with several nodes, as of their last exchange. `None` from a
    /// store that does not know.
    fn queued_bytes(&self) -> Option<u64> {
        self.usage().map(|usage| usage.bytes)
    }

    /// How far the store's clock is ahead of this machine's, if it has one of its own (PR-30).
    fn clock_ahead_ms(&self) -> Option<i64> {
        None
    }

    /// Warnings for the operator, a sentence each, about what works but is less safe than it may look (PR-41).
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether steps can be expected to work now. The error is a sentence for the operator.
    async fn health(&self) -> Result<(), StorageError>;

    /// Resolves when the store has failed for good (PR-5), with a sentence for the operator. Never resolves otherwise.
    async fn failed(&self) -> String;

    /// Refuses a list of sealing keys (by fingerprint) that lacks the one that is in use; otherwise remembers the first (PR-28).
    async fn admit_sealing_keys(&self, fingerprints: &[[u8; 8]]) -> Result<(), StorageError>;

    /// How many other processes use it now, as far as it knows.
    async fn others(&self) -> Result<usize, StorageError> {
        Ok(0)
    }

    /// Whether there is no record of any user agent. An abandoned record counts until it is swept.
    async fn is_empty(&self) -> Result<bool, StorageError>;

    /// Exports user agents with their subscriptions and waiting messages, from the start or from where an earlier call ended
    /// (PR-37). What is expired or abandoned is counted and not exported. Changes nothing.
    ///
    /// Ends a page when it holds about `bytes`, after at least one record: a longer queue comes in parts. A storage that
    /// has to give a whole queue at once goes over it by at most the limits of one queue. For a store that nothing else
    /// changes meanwhile; one that is changed may give a user agent as it was before or after. Any part may come twice.
    async fn export(&self, after: Option<&Cursor>, bytes: usize) -> Result<Exported, StorageError>;

    /// Imports what another storage exported, under its old ids, numbers and times (PR-37). All of it is durable when this
    /// resolves; what was imported before a failure stays.
    ///
    /// Merges, part by part: adds subscriptions and messages that are not there, and never ends or replaces anything that
    /// is. In the way are a subscription if another of its id or name is there; a message if its subscription is not
    /// there, or another message of its number or its topic is. So repeating it adds nothing twice. Neither limits nor
    /// rates apply. No session is told: it finds what was imported with its next page.
    async fn import(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError>;

    /// Closes the store: everything confirmed or under way is on disk when this resolves. No step may be under way or follow.
    async fn close(&self) -> Result<(), StorageError>;
}

/// Why a step was not done, or may not have been done. Never means that something is unknown (PR-3).
#[derive(Clone, Debug)]
pub enum StorageError {
    /// The store is in trouble, overloaded, or does not answer in time. May heal.
    Unavailable(String),
    /// Less than the reserve of free disk is left: new messages and subscriptions are refused, the rest works (PR-5).
    Full,
    /// A write or sync failed. The store takes nothing more; the process has to end (PR-5).
    Failed(String),
}

impl std::fmt::Display for StorageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "storage is unavailable: {why}"),
            Self::Full => f.write_str("the disk is almost full: less than the reserve of free space is left"),
            Self::Failed(why) => write!(f, "storage failed, and the service must be restarted: {why}"),
        }
    }
}

impl std::error::Error for StorageError {}

/// PR-28: the key that seals now must stay configured, or no URL that it sealed would work any more. A key that only opens may
/// be dropped: that ends what it sealed, and is the operator's decision.
fn refuse_missing_key(sealing_now: Option<[u8; 8]>, offered: &[[u8; 8]]) -> Result<(), StorageError> {
    match sealing_now {
        Some(fingerprint) if !offered.contains(&fingerprint) => {
            let fingerprint = u64::from_be_bytes(fingerprint);
            Err(StorageError::Unavailable(format!(
                "security.sealing_keys lacks the key {fingerprint:016x}, which this storage uses; add it to \
                 the list, behind the new one"
            )))
        }
        _ => Ok(()),
    }
}

//! Where accepted push messages and subscriptions live: the guarantees, whatever stands behind them.
//!
//! Storage is the truth and a wake-up is a hint. Each step below is atomic: it either happened whole or not at all, and
//! two steps on one user agent never mix. The contract suite holds every storage to the sentences written here.
//!
//! What it deliberately does not know: HTTP, WebSockets, tokens, VAPID, and who holds which connection. It knows seats:
//! opaque pairs that say which session of which process takes delivery for a user agent.
//!
//! # Durability
//!
//! A step that confirms a change (`subscribe`, `unsubscribe`, `enqueue` of a stored message, `acknowledge` with
//! [`Confirm::Durably`]) resolves when the change is as durable as the storage's row in the promise says. A failed write
//! or sync is [`StorageError::Failed`] for every step of its batch, and for every later one (PR-5).
//!
//! # Cancel safety
//!
//! Dropping a step's future before its first poll means that it did not happen. Dropping it later loses the answer, not
//! the change: it may or may not have happened, as after a lost connection (PR-2).

pub mod clock;
#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
mod leases;
pub mod memory;
pub mod portable;
mod queue;
pub mod redis;
mod spelling;

use std::time::Duration;

use async_trait::async_trait;
pub use portable::{Cursor, Exported, Imported, Portable};
use push_protocol::capability::{Dialect, KeyId};
pub use push_protocol::session::{Page, PageRequest, Scope, WakeUp};
use push_protocol::{
    Content, Fate, KeyDigest, MessageId, MessageNumber, SubscriptionId, SubscriptionName, Topic, Ttl,
    Urgency, UserAgentId,
};

/// Which session of which process takes delivery for a user agent.
///
/// Both halves are random and compared for equality, never for order (PR-10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seat {
    /// One run of one process.
    pub incarnation: u64,
    /// One session in it.
    pub session: u64,
}

/// Who is told. Called inside a step: must return at once and never call back into storage.
pub trait Announce: Send + Sync + 'static {
    /// Hands a wake-up to the session that holds `seat`, if this process has it.
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp);

    /// What became of messages of this user agent waits in its outbox, to be carried over (PR-25). A hint.
    fn owes(&self, _user_agent: UserAgentId) {}

    /// Wake-ups of user agents in these buckets may have been lost: their sessions are compared with storage soon
    /// (PR-14). Only a storage that is shared loses any.
    fn gap(&self, _buckets: &[u16]) {}

    /// The half of this process's seats that all of them share: seats with another are told over the network.
    fn incarnation(&self) -> u64 {
        0
    }
}

/// Parts into which user agents are divided, so that wake-ups travel by part. Source: PR-13.
pub const BUCKETS: u16 = 1_024;

/// Which of the [`BUCKETS`] a user agent is in: the first ten bits of its id.
pub fn bucket(user_agent: UserAgentId) -> u16 {
    u16::from_be_bytes([user_agent.0[0], user_agent.0[1]]) >> 6
}

/// The number of a message with TTL 0 that a receipt was asked for. It is not stored and has no place in the queue; but
/// for a while storage knows its id, so that an acknowledgement counts (PR-21). No stored message has so small a number.
pub const PASSING_WITH_RECEIPT: MessageNumber = MessageNumber(1);

/// The one subscription of a receipt subscription, which is a user agent to storage: its messages are receipts (PR-25).
pub const RECEIPTS: SubscriptionId = SubscriptionId([0; 8]);

/// The name of [`RECEIPTS`].
pub const RECEIPTS_NAME: SubscriptionName = SubscriptionName([0; 16]);

/// A subscription to be made, or to be found again by its name.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Whose.
    pub user_agent: UserAgentId,
    /// The user agent's name for it.
    pub name: SubscriptionName,
    /// The id that it gets if the name is new: fresh random bits.
    pub fresh_id: SubscriptionId,
    /// The application server that it is restricted to. Kept for operators; the push URL is what enforces it.
    pub key: Option<KeyDigest>,
    /// Taken in the same step when it creates the user agent's record (PR-12).
    pub seat: Option<Seat>,
    /// How many subscriptions the user agent may have.
    pub limit: usize,
    /// Only if the user agent is known: nothing is made for one who names a subscription set that has ended
    /// (RFC 8030 §4.1).
    pub only_known: bool,
}

/// What came of [`Storage::subscribe`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subscribed {
    /// The name was new.
    Created(SubscriptionId),
    /// The name was known; its subscription goes on, with its id, and its old push URLs go on working (PR-9).
    Kept(SubscriptionId),
    /// The user agent has as many subscriptions as it may.
    TooMany,
    /// [`Subscribe::only_known`] was asked of a user agent that a healthy store doesn't know.
    UnknownUserAgent,
}

/// Which subscriptions end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// This one.
    One(SubscriptionId),
    /// All of the user agent's: its subscription set ends with them (RFC 8030 §7.3.1).
    All,
}

/// A receipt that is owed to an application server, written down before its message is stored (PR-25).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// In whose queue the message will be.
    pub user_agent: UserAgentId,
    /// The random half of its id: the number is not given yet.
    pub nonce: u64,
    /// How the message's URL answers, which is also the receipt's.
    pub dialect: Dialect,
    /// Under which sealing key that URL stands.
    pub sealed_by: KeyId,
    /// After so long the message's user agent is asked what became of it: not before the message has expired.
    pub within: Duration,
    /// How many receipts may be owed and wait in all.
    pub limit: u32,
}

/// What came of [`Storage::expect_receipt`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expecting {
    /// It is written down, durably.
    Expected,
    /// A healthy store knows no such receipt subscription.
    NoReceiptSubscription,
    /// As many as may be are owed or wait for whoever monitors.
    TooMany,
}

/// What became of a message that a receipt was asked for: waits in its user agent's outbox until it is carried over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// To which receipt subscription.
    pub receipts: UserAgentId,
    /// In whose queue the message was.
    pub user_agent: UserAgentId,
    /// The message.
    pub id: MessageId,
    /// How it ended.
    pub fate: Fate,
}

/// What a user agent's side knows of a message that a receipt is owed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traced {
    /// Nothing: it was never stored, or its outcome was carried over and cleared.
    Nothing,
    /// It waits and has not expired.
    Waiting,
    /// It ended so. One that waits and has expired is given up.
    Ended(Outcome),
}

/// A receipt that is owed for too long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Overdue {
    /// To which receipt subscription.
    pub receipts: UserAgentId,
    /// In whose queue the message was to be.
    pub user_agent: UserAgentId,
    /// The random half of its id.
    pub nonce: u64,
}

/// A push message to be stored, or passed on if its TTL is 0.
#[derive(Clone, Debug)]
pub struct Enqueue {
    /// Whose queue.
    pub user_agent: UserAgentId,
    /// For which subscription.
    pub subscription: SubscriptionId,
    /// The random half of its id, drawn before the first try.
    pub nonce: u64,
    /// For how long. Already clamped.
    pub ttl: Ttl,
    /// How urgent.
    pub urgency: Urgency,
    /// What it replaces.
    pub topic: Option<Topic>,
    /// What is in it.
    pub content: Content,
    /// The application server that its subscription is restricted to, if its push URL has to be told to the user agent.
    pub key: Option<KeyDigest>,
    /// The sealing key under which its URLs stand, so that one message has one URL for as long as it waits.
    pub sealed_by: KeyId,
    /// The receipt subscription that is told what becomes of it; there it's [`Expected`].
    pub receipts: Option<UserAgentId>,
    /// The queue's budget.
    pub budget: Budget,
    /// How many messages a second the subscription may get.
    pub rate: Option<Rate>,
}

/// What one user agent may have waiting (PR-23).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Messages.
    pub messages: u32,
    /// Bytes of their bodies, each counted with [`crate::defaults::MESSAGE_OVERHEAD_BYTES`].
    pub bytes: u64,
}

/// A token bucket (PR-24).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// Tokens that come back each second.
    pub per_second: f64,
    /// Tokens in a full bucket.
    pub burst: f64,
}

/// What came of [`Storage::enqueue`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enqueued {
    /// Stored, durably, under this id; the seat, if there is one, was told.
    Stored {
        /// Its identity.
        id: MessageId,
        /// Whether a waiting message of its topic left for it.
        replaced: bool,
        /// How many messages were given up to make room.
        evicted: u32,
        /// How many expired messages were dropped on the way.
        expired: u32,
    },
    /// TTL 0: not stored. Whether a seat was told.
    Passed {
        /// The nonce, and a number of 0, or [`PASSING_WITH_RECEIPT`].
        id: MessageId,
        /// Whether a user agent was there to be told.
        seated: bool,
    },
    /// There is no such subscription, said by a healthy store.
    NoSubscription,
    /// The subscription gets more messages than its rate allows.
    RateLimited {
        /// When the next one will be let in.
        retry_after: Duration,
    },
    /// The queue is full and by the eviction rule this message would be the one to go.
    QueueFull,
}

/// How a session asks for its seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// As everybody does: may be told to wait (PR-15).
    Asking,
    /// After it has waited as it was told.
    Insisting,
}

/// What came of [`Storage::attach`].
#[derive(Clone, Debug)]
pub enum Attached {
    /// A healthy, fully loaded store knows nothing of this user agent. Nothing was written (PR-3).
    Unknown,
    /// This user agent was attached [`ATTACHES_PER_MINUTE`] times within a minute: two devices that share an identity,
    /// say, and displace each other. Nothing was changed; ask again [`Manner::Insisting`] (PR-15).
    ///
    /// [`ATTACHES_PER_MINUTE`]: crate::defaults::ATTACHES_PER_MINUTE
    TooOften {
        /// When the minute is over.
        retry_after: Duration,
    },
    /// The seat is taken, and this is the head of the queue, read in the same step.
    Known {
        /// The head.
        page: Page,
        /// Who held the seat before.
        displaced: Option<Seat>,
    },
}

/// What came of [`Storage::page`].
#[derive(Clone, Debug)]
pub enum Paged {
    /// The page. If nobody held the seat, the caller holds it now.
    Page(Page),
    /// Another session holds the seat: close.
    Displaced,
    /// The user agent's record is gone.
    Unknown,
}

/// What [`Storage::refresh`] found of a session's seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refreshed {
    /// It's the session's, or nobody's and now the session's.
    Held {
        /// The number of the last message accepted: a session that has not come so far has missed something (PR-14).
        last: MessageNumber,
    },
    /// Another session has it: close.
    Displaced,
    /// There is no record.
    Unknown,
    /// The part of the store that would know has trouble; the others answered.
    Trouble,
}

/// Why messages are removed by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// The user agent has them.
    Acknowledged,
    /// The application server took them back.
    Cancelled,
}

/// When [`Storage::acknowledge`] resolves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirm {
    /// When the removal is as durable as a 201: for whoever gets an answer.
    Durably,
    /// When the storage has it; durable within 100 ms (PR-4): for the WebSocket, which answers nothing.
    Soon,
}

/// What [`Storage::expire`] dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Messages whose time to live was over.
    pub expired: usize,
    /// Messages of ended subscriptions, abandoned records, and what nobody will ask of receipts any more.
    pub freed: usize,
}

impl Swept {
    /// All of it.
    pub fn total(self) -> usize {
        self.expired + self.freed
    }
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, more: Self) {
        self.expired += more.expired;
        self.freed += more.freed;
    }
}

/// What the admin API shows of a user agent. No content, no topic, no secret.
#[derive(Clone, Debug, serde::Serialize)]
pub struct UserAgentReport {
    /// Messages that wait.
    pub messages: u32,
    /// Bytes that count against the budget.
    pub bytes: u64,
    /// The number of the last message accepted.
    pub last_number: u64,
    /// Whether a session of this process or another holds the seat.
    pub seated: bool,
    /// Seconds until an abandoned record vanishes (PR-29).
    pub retained_for_secs: u64,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionReport>,
}

/// What the admin API shows of a subscription.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SubscriptionReport {
    /// Its id, in hexadecimal.
    pub id: String,
    /// The user agent's name for it.
    pub name: String,
    /// Whether it is restricted to one application server.
    pub restricted: bool,
    /// Messages that wait.
    pub messages: u32,
    /// Bytes that count against the budget.
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

/// What the store holds, for gauges. May lag by a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Messages that wait, expired ones included until they are swept.
    pub messages: u64,
    /// Bytes that count against budgets.
    pub bytes: u64,
    /// User agents with a record.
    pub user_agents: u64,
}

impl Usage {
    fn change(&mut self, by: queue::UsageChange) {
        self.messages = self.messages.saturating_add_signed(by.messages);
        self.bytes = self.bytes.saturating_add_signed(by.bytes);
        self.user_agents = self.user_agents.saturating_add_signed(by.user_agents);
    }
}

/// Why a step could not be done, or may not have been. Never says that something is unknown (PR-3).
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
            Self::Full => f.write_str("less than the reserve of free disk is left"),
            Self::Failed(why) => write!(f, "storage failed and takes nothing more: {why}"),
        }
    }
}

impl std::error::Error for StorageError {}

/// Durable queues and subscriptions. See the module for what every step guarantees.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Makes a subscription, or finds the one of that name.
    ///
    /// Creates the user agent's record with its first subscription, taking the seat in the same step; renews the
    /// record's retention. A record that exists keeps its seat as it is.
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError>;

    /// Ends the subscription of that name and returns its id, or `None` if there was none. Its messages are never
    /// delivered again and are freed in bounded steps. The record stays while a session holds the seat (PR-12).
    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError>;

    /// Ends one subscription, or all and with them the user agent's record, and says whether anything ended. Its messages
    /// are never delivered again and are freed in bounded steps. The holder of the seat is told.
    async fn end(&self, user_agent: UserAgentId, ending: Ending) -> Result<bool, StorageError>;

    /// Whether a healthy store knows this subscription of this user agent.
    async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError>;

    /// Accepts a push message: checks that its subscription is there, its rate, frees the message of its topic and
    /// expired ones, checks the budget and evicts by rule, numbers, stores, and tells the seat, all in one step.
    ///
    /// The number is `max(last + 1, storage clock in µs)`. A connected user agent is told at once, before the message is
    /// durable. A refusal changes nothing but the rate bucket. With TTL 0 nothing is stored and no number is taken, but
    /// rate and topic count.
    async fn enqueue(&self, enqueue: Enqueue) -> Result<Enqueued, StorageError>;

    /// Takes the seat and reads the head of the queue in one step; renews the record's retention.
    async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Result<Attached, StorageError>;

    /// Compares the seats of many sessions with what storage has: one answer for each, in their order (PR-14).
    ///
    /// Takes a seat that is free, and renews the retention of a record that has less than nine tenths of it left.
    async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError>;

    /// Reads on, if the caller holds the seat or nobody does.
    async fn page(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        page: PageRequest,
    ) -> Result<Paged, StorageError>;

    /// Gives the seat up, if the caller holds it.
    async fn release(&self, user_agent: UserAgentId, seat: Seat) -> Result<(), StorageError>;

    /// Removes messages by whole id and tells for each whether it was there. Idempotent, from any session (PR-18).
    ///
    /// `by` is the seat of the session that asks, if one does: the holder of another seat is told that its window has
    /// room.
    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError>;

    /// Writes down that a receipt will be owed, durably, before the message is stored (PR-25). `receipts` is a receipt
    /// subscription: a user agent with one subscription, whose messages are receipts.
    async fn expect_receipt(
        &self,
        receipts: UserAgentId,
        expected: Expected,
    ) -> Result<Expecting, StorageError>;

    /// Turns what is owed into receipts: for each outcome that is expected here, the expectation leaves and, unless its
    /// message was replaced, a message with its [`Receipt`](push_protocol::Receipt) as body joins the queue, all in one step.
    /// Of several outcomes of one message the first wins: what is not expected (any more) is passed over.
    ///
    /// Durable when it resolves; the holder of the seat is told then and not before (PR-1). At most
    /// [`RECEIPT_STEP`](crate::defaults::RECEIPT_STEP) outcomes.
    async fn settle_receipts(&self, receipts: UserAgentId, outcomes: &[Outcome]) -> Result<(), StorageError>;

    /// The outbox of a user agent, oldest first: what is in it is durable when this resolves. At most `limit`.
    ///
    /// The step that removes a message with [`Enqueue::receipts`] (acknowledge, replace, evict, expire, cancel, end) has put
    /// its outcome there, whole or not at all. Messages of ended subscriptions do so when they are freed.
    async fn outcomes(&self, user_agent: UserAgentId, limit: usize) -> Result<Vec<Outcome>, StorageError>;

    /// Takes out of the outbox what was carried over. Need not be durable at once.
    async fn clear_outcomes(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
    ) -> Result<(), StorageError>;

    /// User agents whose outbox is not empty, at most `limit`: for what no hint told of.
    async fn owing(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError>;

    /// Receipts that are owed for longer than they were expected to take, at most `limit`. Each is given once in
    /// [`RECEIPT_LEASE`](crate::defaults::RECEIPT_LEASE), so that nodes don't all work on the same ones.
    async fn overdue(&self, limit: usize) -> Result<Vec<Overdue>, StorageError>;

    /// What a user agent's side knows of a message (PR-25).
    async fn trace(&self, user_agent: UserAgentId, nonce: u64) -> Result<Traced, StorageError>;

    /// Drops up to `limit` of what is due: expired messages, messages of ended subscriptions, abandoned records. Fewer
    /// than `limit` in all means that nothing more is due. Costs in proportion to what is due, not to
    /// what is stored.
    async fn expire(&self, limit: usize) -> Result<Swept, StorageError>;

    /// What support asks for.
    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError>;

    /// Whether other processes write to it too, whose wake-ups may be lost on their way here (PR-14).
    fn is_shared(&self) -> bool {
        false
    }

    /// Gauges; `None` from a store that can't tell without counting.
    fn usage(&self) -> Option<Usage>;

    /// How far the store's clock is ahead of this machine's, if it has one of its own (PR-30).
    fn clock_ahead_ms(&self) -> Option<i64> {
        None
    }

    /// Whether steps can be expected to work now; a sentence for the operator if not.
    async fn health(&self) -> Result<(), StorageError>;

    /// Resolves when the store has failed for good (PR-5), with the sentence to say. Never resolves otherwise.
    async fn failed(&self) -> String;

    /// Refuses a set of sealing keys (by fingerprint) that lacks one which is in use, and remembers them (PR-28).
    async fn admit_sealing_keys(&self, fingerprints: &[[u8; 8]]) -> Result<(), StorageError>;

    /// How many other processes use it now, as far as it knows.
    async fn others(&self) -> Result<usize, StorageError> {
        Ok(0)
    }

    /// Whether there is no user agent's record at all. May say no for what is abandoned and not swept yet.
    async fn is_empty(&self) -> Result<bool, StorageError>;

    /// Gives user agents with their subscriptions and waiting messages, from the start or from where an earlier call
    /// ended (PR-37). What is expired or abandoned is counted and not given. Changes nothing.
    ///
    /// Ends a page when it holds about `bytes`, after at least one record: a longer queue comes in parts. A storage that
    /// has to give a whole queue at once goes over it by at most one user agent's budget. For a store that nothing else
    /// changes meanwhile; one that is changed may give a user agent as it was before or after. Any part may come twice.
    async fn export(&self, after: Option<&Cursor>, bytes: usize) -> Result<Exported, StorageError>;

    /// Takes in what another storage gave, under its old ids, numbers and times (PR-37). All of it is durable when this
    /// resolves; what was taken in before a failure stays.
    ///
    /// Merges, part by part: adds subscriptions and messages that are not there, and never ends or replaces anything that
    /// is. In the way are a subscription if another of its id or name is there; a message if its subscription is not
    /// there, or another message of its number or its topic is. So repeating it adds nothing twice. Neither budget, rate
    /// nor limit counts. Nobody's seat is told: a session finds what came with its next page.
    async fn import(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError>;

    /// Ends it: everything confirmed or under way is on disk when this resolves. No step may be under way or follow.
    async fn close(&self) -> Result<(), StorageError>;
}

/// PR-28: the key that seals now must stay known, or every URL that it sealed dies. A key that only opens may be dropped;
/// that ends what it sealed, and is the operator's decision.
fn refuse_missing_key(sealing_now: Option<[u8; 8]>, offered: &[[u8; 8]]) -> Result<(), StorageError> {
    match sealing_now {
        Some(fingerprint) if !offered.contains(&fingerprint) => {
            let fingerprint = u64::from_be_bytes(fingerprint);
            Err(StorageError::Unavailable(format!(
                "the sealing key {fingerprint:016x} is in use and is not among the configured ones; \
                 add it to security.sealing_keys, behind the new one"
            )))
        }
        _ => Ok(()),
    }
}

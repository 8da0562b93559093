//! What the steps of a push message are asked, and what they answer.

use std::time::Duration;

use push_protocol::capability::KeyId;
use push_protocol::{Content, KeyDigest, MessageId, SubscriptionId, Topic, Ttl, Urgency, UserAgentId};

use super::{Caps, SenderTag};

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
    /// The receipt subscription that is told what becomes of it; there it's [`Expected`](super::Expected).
    pub receipts: Option<UserAgentId>,
    /// Who sent it, if that is counted.
    pub sender: Option<SenderTag>,
    /// How many bytes may wait of one sender, and of all.
    pub caps: Caps,
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

/// What came of [`Storage::enqueue`](super::Storage::enqueue).
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
        /// The nonce, and a number of 0, or [`PASSING_WITH_RECEIPT`](super::PASSING_WITH_RECEIPT).
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
    /// With this message more than [`Caps::sender_bytes`] of its sender would wait.
    SenderFull,
    /// With this message more would wait in the store than the part of [`Caps::store_bytes`] that its urgency may fill.
    StoreFull,
}

/// Why messages are removed by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// The user agent has them.
    Acknowledged,
    /// The application server took them back.
    Cancelled,
}

/// When [`Storage::acknowledge`](super::Storage::acknowledge) resolves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirm {
    /// When the removal is as durable as a 201: for whoever gets an answer.
    Durably,
    /// When the storage has it; durable within 100 ms (PR-4): for the WebSocket, which answers nothing.
    Soon,
}

/// What [`Storage::expire`](super::Storage::expire) dropped.
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

//! Requests and answers of the steps of push messages.

use std::time::Duration;

use push_protocol::capability::KeyId;
use push_protocol::{Content, KeyDigest, MessageId, SubscriptionId, Topic, Ttl, Urgency, UserAgentId};

use super::{Caps, SenderTag};

/// A push message to be stored, or passed on if its TTL is 0.
#[derive(Clone, Debug)]
pub struct Enqueue {
    /// The owner of the queue.
    pub user_agent: UserAgentId,
    /// The subscription that it is for.
    pub subscription: SubscriptionId,
    /// The random half of its id.
    pub nonce: u64,
    /// How long it may wait. Already clamped to the longest TTL.
    pub ttl: Ttl,
    /// Its urgency.
    pub urgency: Urgency,
    /// Its topic: it replaces the waiting message of the same topic.
    pub topic: Option<Topic>,
    /// Its body, and how that is encoded.
    pub content: Content,
    /// The application server that its subscription is restricted to, if the user agent gets its push URL with the message.
    pub key: Option<KeyDigest>,
    /// The sealing key of its URLs, so that one message has one URL for as long as it waits.
    pub sealed_by: KeyId,
    /// The receipt subscription that gets its receipt. There it is [`ExpectReceipt`](super::ExpectReceipt).
    pub receipts: Option<UserAgentId>,
    /// The sender for which it counts.
    pub sender: Option<SenderTag>,
    /// How many bytes may wait of one sender, and of all.
    pub caps: Caps,
    /// The limits of the queue.
    pub queue_limits: QueueLimits,
    /// How many messages a second the subscription may get.
    pub rate: Option<Rate>,
}

/// What may wait for one user agent (PR-23).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLimits {
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

/// The answer of [`Storage::enqueue`](super::Storage::enqueue).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enqueued {
    /// Stored, durably, under this id. The holder of the seat, if there is one, was told.
    Stored {
        /// Its identity.
        id: MessageId,
        /// Whether it replaced a waiting message of its topic.
        replaced: bool,
        /// How many messages were evicted to make room.
        evicted: u32,
        /// How many expired messages were removed in the same step.
        expired: u32,
    },
    /// TTL 0: not stored.
    Passed {
        /// The nonce, and a number of 0, or [`PASSING_WITH_RECEIPT`](super::PASSING_WITH_RECEIPT).
        id: MessageId,
        /// Whether a session holds the seat, and was told.
        seated: bool,
    },
    /// A healthy store has no such subscription.
    NoSubscription,
    /// The subscription gets more messages than its rate allows.
    RateLimited {
        /// When the next one will be let in.
        retry_after: Duration,
    },
    /// The queue is full, and by the eviction rule this message would be the next to go.
    QueueFull,
    /// With this message more than [`Caps::sender_bytes`] of its sender would wait.
    SenderFull,
    /// With this message more would wait in the store than the part of [`Caps::store_bytes`] that its urgency may fill.
    StoreFull,
}

/// Why messages are removed by id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// The user agent has them.
    Acknowledged,
    /// The application server took them back.
    Cancelled,
    /// An operator emptied the queue.
    Emptied,
}

/// Why a message left its queue without an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemovalReason {
    /// Its time to live was over.
    Expired,
    /// A newer message of its topic came.
    Replaced,
    /// The queue was full, and the eviction rule chose it (PR-23).
    Evicted,
    /// The application server took it back.
    Cancelled,
    /// Its subscription ended.
    SubscriptionEnded,
    /// An operator emptied the queue.
    Emptied,
    /// TTL 0, and no user agent took it. It never was in the queue, so no storage tells of it.
    Unheard,
}

/// A message that left its queue without an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemovedMessage {
    /// Which.
    pub id: MessageId,
    /// Its subscription, if the storage knows it.
    pub subscription: Option<SubscriptionId>,
    /// Why.
    pub why: RemovalReason,
}

impl RemovalReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Expired,
        Self::Replaced,
        Self::Evicted,
        Self::Cancelled,
        Self::SubscriptionEnded,
        Self::Emptied,
        Self::Unheard,
    ];

    /// Its name, as the log shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Evicted => "evicted",
            Self::Cancelled => "cancelled",
            Self::SubscriptionEnded => "subscription_ended",
            Self::Emptied => "emptied",
            Self::Unheard => "unheard",
        }
    }
}

/// When [`Storage::acknowledge`](super::Storage::acknowledge) resolves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirm {
    /// When the removal is as durable as an accepted message: for requests that get an answer.
    Durably,
    /// When the storage has it; it is durable within 100 ms (PR-4): for the WebSocket, which gets no answer.
    Soon,
}

/// What [`Storage::expire`](super::Storage::expire) removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Messages whose time to live was over.
    pub expired: usize,
    /// Messages of ended subscriptions, abandoned records, and receipt state that is over.
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

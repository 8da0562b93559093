//! What export gives and import takes (PR-37): user agents, with everything that keeps their push resources working.
//!
//! Ids, numbers and times are absolute, so that message URLs stay valid and an acknowledgement sent to the old storage's
//! node finds its message in the new one. Seats and rate buckets are not exported: they belong to sessions and seconds.
//!
//! It deliberately does not know files: `transfer` writes these types into one.

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{
    Content, KeyDigest, MessageId, MessageNumber, SubscriptionId, SubscriptionName, Topic, Urgency,
    UserAgentId,
};

use super::{MessageEnd, SenderTag, StorageError};
use crate::defaults::MESSAGE_OVERHEAD_BYTES;

/// A user agent, or a part of one whose queue is too long to be held at once.
///
/// Each part has the record; the parts together have every subscription and every message at least once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Portable {
    /// Its id.
    pub user_agent: UserAgentId,
    /// The number of the last message accepted, unless a message here has a higher one.
    pub last: MessageNumber,
    /// When an abandoned record vanishes, in milliseconds since 1970.
    pub retained_until_ms: u64,
    /// Whether its record is unused ([`Retention`](super::Retention)).
    pub unused: bool,
    /// Its subscriptions.
    pub subscriptions: Vec<PortableSubscription>,
    /// What waits, in the order of acceptance.
    pub messages: Vec<PortableMessage>,
    /// Its outbox: how messages ended for which a receipt was requested. It is exported even if all else of the user agent is
    /// over.
    pub outbox: Vec<MessageEnd>,
    /// The receipts that it expects, if it is a receipt subscription.
    pub expected: Vec<PortableExpectation>,
}

/// An expected receipt (PR-25).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortableExpectation {
    /// In whose queue the message is.
    pub user_agent: UserAgentId,
    /// The random half of its id.
    pub nonce: u64,
    /// The dialect of its URL.
    pub dialect: Dialect,
    /// The sealing key under which that URL stands.
    pub sealed_by: KeyId,
    /// From when on storage is asked how the message ended, in milliseconds since 1970.
    pub deadline_ms: u64,
}

/// A subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortableSubscription {
    /// Its id, which its push URLs contain.
    pub id: SubscriptionId,
    /// The user agent's name for it.
    pub name: SubscriptionName,
    /// When it was made, in seconds since 1970.
    pub created_at_secs: u64,
    /// The application server that it is restricted to.
    pub key: Option<KeyDigest>,
}

/// A waiting message.
#[derive(Clone, PartialEq, Eq)]
pub struct PortableMessage {
    /// Its whole identity.
    pub id: MessageId,
    /// For which subscription.
    pub subscription: SubscriptionId,
    /// How urgent.
    pub urgency: Urgency,
    /// What replaces it.
    pub topic: Option<Topic>,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_at_ms: u64,
    /// When its time is over, in milliseconds since 1970.
    pub expires_at_ms: u64,
    /// The sealing key under which its message URLs stand.
    pub sealed_by: u8,
    /// The application server that its subscription is restricted to, if the user agent gets its push URL with the message.
    pub key: Option<KeyDigest>,
    /// The receipt subscription that gets its receipt.
    pub receipts: Option<UserAgentId>,
    /// The sender for which it counts.
    pub sender: Option<SenderTag>,
    /// What is in it.
    pub content: Content,
}

impl std::fmt::Debug for PortableMessage {
    /// Without content and topic, which no log may show.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortableMessage")
            .field("id", &self.id)
            .field("subscription", &self.subscription)
            .field("body_bytes", &self.content.body.len())
            .finish_non_exhaustive()
    }
}

/// Where an export goes on. Means something only to the storage that gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor(pub Vec<u8>);

/// What [`Storage::export`](super::Storage::export) gives at a time.
#[derive(Clone, Default, Debug)]
pub struct Exported {
    /// User agents and parts of them.
    pub user_agents: Vec<Portable>,
    /// Messages that were skipped because they had expired.
    pub expired: u64,
    /// User agents that were skipped because they were abandoned for longer than their retention.
    pub abandoned: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What [`Storage::import`](super::Storage::import) did: each subscription, message, entry of an outbox and expected receipt
/// counts in one of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// Subscriptions that are there now and were not before.
    pub subscriptions: u64,
    /// Messages that wait now and did not before.
    pub messages: u64,
    /// Entries of outboxes and expected receipts that are there now and were not before.
    pub receipts: u64,
    /// What was there already.
    pub present: u64,
    /// What would have ended or replaced something that is there, or lacks what it belongs to.
    pub in_the_way: u64,
    /// Messages whose time was over.
    pub expired: u64,
    /// Subscriptions and messages of user agents that were abandoned for longer than their retention.
    pub abandoned: u64,
}

impl std::ops::AddAssign for Imported {
    fn add_assign(&mut self, more: Self) {
        self.subscriptions += more.subscriptions;
        self.messages += more.messages;
        self.receipts += more.receipts;
        self.present += more.present;
        self.in_the_way += more.in_the_way;
        self.expired += more.expired;
        self.abandoned += more.abandoned;
    }
}

/// How far an export has come in a storage that keeps user agents in order: it has all of this one up to this number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ExportPosition {
    pub(super) user_agent: UserAgentId,
    pub(super) upto: MessageNumber,
}

impl ExportPosition {
    pub(super) fn end_of(user_agent: UserAgentId) -> Self {
        Self {
            user_agent,
            upto: MessageNumber(u64::MAX),
        }
    }

    pub(super) fn cursor(self) -> Cursor {
        Cursor([&self.user_agent.0[..], &self.upto.0.to_be_bytes()].concat())
    }

    pub(super) fn of(cursor: &Cursor) -> Result<Self, StorageError> {
        let position = cursor.0.split_first_chunk::<16>().and_then(|(user_agent, upto)| {
            let upto = upto.try_into().ok()?;
            Some(Self {
                user_agent: UserAgentId(*user_agent),
                upto: MessageNumber(u64::from_be_bytes(upto)),
            })
        });
        position.ok_or_else(|| {
            StorageError::Unavailable("the export cannot go on: this storage gave no such cursor".to_owned())
        })
    }
}

/// A page of an export that is being filled: up to about so many bytes, and at least one item.
pub(super) struct ExportPage {
    page: Exported,
    room_bytes: usize,
}

impl ExportPage {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            page: Exported::default(),
            room_bytes: bytes.max(1),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.room_bytes == 0
    }

    /// Adds a record; what is added after it belongs to it.
    pub(super) fn begin(&mut self, record: Portable) {
        self.fill(MESSAGE_OVERHEAD_BYTES as usize * (1 + record.subscriptions.len()));
        self.page.user_agents.push(record);
    }

    pub(super) fn add_message(&mut self, message: PortableMessage) {
        self.fill(MESSAGE_OVERHEAD_BYTES as usize + message.content.body.len());
        if let Some(part) = self.page.user_agents.last_mut() {
            part.messages.push(message);
        }
    }

    pub(super) fn add_message_end(&mut self, end: MessageEnd) {
        self.fill(MESSAGE_OVERHEAD_BYTES as usize);
        if let Some(part) = self.page.user_agents.last_mut() {
            part.outbox.push(end);
        }
    }

    pub(super) fn add_expectation(&mut self, expectation: PortableExpectation) {
        self.fill(MESSAGE_OVERHEAD_BYTES as usize);
        if let Some(part) = self.page.user_agents.last_mut() {
            part.expected.push(expectation);
        }
    }

    pub(super) fn skip_expired(&mut self) {
        self.page.expired += 1;
    }

    pub(super) fn skip_abandoned(&mut self) {
        self.page.abandoned += 1;
    }

    pub(super) fn finish(self, next: Option<ExportPosition>) -> Exported {
        Exported {
            next: next.map(ExportPosition::cursor),
            ..self.page
        }
    }

    fn fill(&mut self, bytes: usize) {
        self.room_bytes = self.room_bytes.saturating_sub(bytes);
    }
}

//! How a user agent that moves is spelled in Redis: read out of its record and index, packed for the import script (PR-37).
//!
//! It deliberately does not know which user agents move, and in what portions.

use std::collections::HashMap;

use push_protocol::{
    KeyDigest, MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, Topic, Urgency, UserAgentId,
};

use super::answers::Pairs;
use super::layout::{
    self, EPOCH, EntryFields, ImportExpectation, ImportMessage, ImportSubscription, LANE, OutcomeFields,
    OwedFields, ReceiptUrl, SenderFields, WITH_SENDER,
};
use super::packed::{Nonce, Packed as _, U48};
use super::record::{Record, Subscription};
use crate::defaults::MESSAGE_OVERHEAD_BYTES;
use crate::storage::portable::{PortableExpectation, PortableMessage, PortableSubscription};
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{MessageEnd, PASSING_WITH_RECEIPT, Portable, SenderTag, WaitingMessage};

/// What a record says, without its messages.
pub(super) fn portable(user_agent: UserAgentId, record: &Record) -> Portable {
    let subscription = |s: &Subscription| PortableSubscription {
        id: s.id,
        name: s.name,
        created_at_secs: s.created_at_secs.into(),
        key: s.key.map(KeyDigest),
    };
    Portable {
        user_agent,
        last: MessageNumber(record.meta.last),
        retained_until_ms: record.meta.retained_until_ms,
        unused: record.meta.unused,
        subscriptions: record.subscriptions.iter().map(subscription).collect(),
        messages: Vec::new(),
        outbox: Vec::new(),
        expected: Vec::new(),
    }
}

/// What the index says of a message.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) id: MessageId,
    pub(super) subscription: SubscriptionId,
    urgency: Urgency,
    body_bytes: u32,
    pub(super) expires_at_ms: u64,
    sealed_by: u8,
    sender: Option<SenderTag>,
    topic: Option<Topic>,
    asks_receipt: bool,
}

impl Entry {
    /// From a member of the index and its score.
    pub(super) fn read(member: &[u8], score: u64) -> Result<Self, Unreadable> {
        let mut fields = Fields(member);
        let entry = EntryFields::read(&mut fields)?;
        // A zero behind it asks for a receipt.
        let asked = fields.0.strip_suffix(&[0]);
        let tail = asked.unwrap_or(fields.0);
        let (topic, sender) = match tail.split_last_chunk::<{ SenderFields::BYTES }>() {
            Some((topic, [WITH_SENDER, sender @ ..])) => (topic, SenderTag::from_bytes(*sender)),
            _ => (tail, None),
        };
        let topic = match topic {
            [] => None,
            topic => {
                let text = std::str::from_utf8(topic).map_err(|_| Unreadable)?;
                Some(Topic::parse(text).ok_or(Unreadable)?)
            }
        };
        Ok(Self {
            id: MessageId {
                number: MessageNumber(score % LANE + EPOCH),
                nonce: entry.nonce.0,
            },
            subscription: entry.subscription,
            urgency: u8::try_from(score / LANE)
                .ok()
                .and_then(Urgency::from_u8)
                .ok_or(Unreadable)?,
            body_bytes: entry.body_bytes,
            expires_at_ms: entry.expires_at_ms.0,
            sealed_by: entry.sealed_by.0,
            sender,
            topic,
            asks_receipt: asked.is_some(),
        })
    }

    /// As the admin API shows it.
    pub(super) fn shown(&self) -> WaitingMessage {
        WaitingMessage {
            id: self.id,
            subscription: self.subscription,
            urgency: self.urgency,
            bytes: u64::from(self.body_bytes) + MESSAGE_OVERHEAD_BYTES,
            expires_at_ms: self.expires_at_ms,
            has_topic: self.topic.is_some(),
        }
    }

    /// With its content, as the enqueue script stored it, and with who is told what becomes of it.
    pub(super) fn with(
        self,
        stored: &[u8],
        receipts: Option<UserAgentId>,
    ) -> Result<PortableMessage, Unreadable> {
        let (key, content) = layout::read_stored(&bytes::Bytes::copy_from_slice(stored))?;
        Ok(PortableMessage {
            id: self.id,
            subscription: self.subscription,
            urgency: self.urgency,
            topic: self.topic,
            accepted_at_ms: self.id.number.0 / 1_000,
            expires_at_ms: self.expires_at_ms,
            sealed_by: self.sealed_by,
            key,
            receipts,
            sender: self.sender,
            content,
        })
    }
}

/// What an outbox says of each nonce.
pub(super) struct Outbox {
    user_agent: UserAgentId,
    entries: HashMap<Vec<u8>, Owed>,
}

struct Owed {
    receipts: UserAgentId,
    id: MessageId,
    /// None as long as the message waits. During an export no channel is open, so a message that was passed on can't be
    /// acknowledged any more.
    how: Option<ReceiptOutcome>,
}

impl Outbox {
    pub(super) fn read(user_agent: UserAgentId, pairs: Pairs) -> Result<Self, Unreadable> {
        let mut entries = HashMap::with_capacity(pairs.len());
        // A last number stands among them.
        for (nonce, value) in pairs.into_iter().filter(|(nonce, _)| nonce.len() == 8) {
            let owed = OwedFields::read(&mut Fields(&value))?;
            let passes = owed.number == PASSING_WITH_RECEIPT;
            let how = ReceiptOutcome::from_byte(owed.how).or(passes.then_some(ReceiptOutcome::GivenUp));
            let id = MessageId {
                number: owed.number,
                nonce: Fields(&nonce).number()?,
            };
            let receipts = owed.receipts;
            entries.insert(nonce, Owed { receipts, id, how });
        }
        Ok(Self { user_agent, entries })
    }

    /// How a message ended, if it did.
    pub(super) fn outcome(&self, nonce: &[u8]) -> Option<MessageEnd> {
        let owed = self.entries.get(nonce)?;
        Some(MessageEnd {
            receipts: owed.receipts,
            user_agent: self.user_agent,
            id: owed.id,
            how: owed.how?,
        })
    }

    /// Who is told what becomes of a message that waits.
    pub(super) fn receipts_of(&self, entry: &Entry) -> Option<UserAgentId> {
        let owed = self.entries.get(&entry.id.nonce.to_be_bytes()[..])?;
        entry.asks_receipt.then_some(owed.receipts)
    }
}

/// What a receipt subscription expects, in the order of deadlines.
pub(super) fn expectations(pairs: Pairs) -> Result<Vec<PortableExpectation>, Unreadable> {
    let mut expected = Vec::with_capacity(pairs.len());
    for (message, value) in pairs {
        let (mut message, mut value) = (Fields(&message), Fields(&value));
        let url = ReceiptUrl::read(&mut value)?;
        expected.push(PortableExpectation {
            user_agent: UserAgentId(message.array()?),
            nonce: message.number()?,
            dialect: url.dialect,
            sealed_by: url.sealed_by,
            deadline_ms: U48::read(&mut value)?.0,
        });
    }
    expected.sort_unstable_by_key(|expected| (expected.deadline_ms, expected.user_agent, expected.nonce));
    Ok(expected)
}

/// What travels of a user agent that has only its outbox left.
pub(super) fn outbox_alone(user_agent: UserAgentId) -> Portable {
    Portable {
        user_agent,
        last: MessageNumber::START,
        retained_until_ms: 0,
        unused: false,
        subscriptions: Vec::new(),
        messages: Vec::new(),
        outbox: Vec::new(),
        expected: Vec::new(),
    }
}

/// As the import script takes it.
pub(super) fn pack_outcome(outcome: &MessageEnd) -> Vec<u8> {
    let packed = OutcomeFields {
        receipts: outcome.receipts,
        number: outcome.id.number,
        nonce: Nonce(outcome.id.nonce),
        how: outcome.how.to_byte(),
    };
    packed.packed()
}

/// As the import script takes it.
pub(super) fn pack_expectation(expected: &PortableExpectation) -> Vec<u8> {
    let packed = ImportExpectation {
        user_agent: expected.user_agent,
        nonce: Nonce(expected.nonce),
        url: ReceiptUrl {
            dialect: expected.dialect,
            sealed_by: expected.sealed_by,
        },
        deadline_ms: U48(expected.deadline_ms),
    };
    packed.packed()
}

/// As the import script takes it.
pub(super) fn pack_subscription(subscription: &PortableSubscription) -> Vec<u8> {
    let fields = ImportSubscription {
        id: subscription.id,
        name: subscription.name,
        created_at_secs: u32::try_from(subscription.created_at_secs).unwrap_or(u32::MAX),
    };
    let mut packed = fields.packed();
    packed.extend(subscription.key.iter().flat_map(|key| key.0));
    packed
}

/// As the import script takes it.
pub(super) fn pack_message(message: &PortableMessage) -> Vec<u8> {
    let topic = message.topic.as_ref().map_or("", |topic| topic.as_str());
    let fields = ImportMessage {
        number: message.id.number,
        nonce: Nonce(message.id.nonce),
        subscription: message.subscription,
        urgency: message.urgency,
        expires_at_ms: U48(message.expires_at_ms),
        sealed_by: message.sealed_by,
        body_bytes: u32::try_from(message.content.body.len()).unwrap_or(u32::MAX),
        asks_receipt: message.receipts.is_some(),
        receipts: message.receipts.unwrap_or(UserAgentId([0; 16])),
        sender: message.sender,
        topic_bytes: topic.len() as u8,
    };
    let mut packed = fields.packed();
    packed.extend(topic.as_bytes());
    packed.extend(layout::stored(message.key.as_ref(), &message.content));
    packed
}

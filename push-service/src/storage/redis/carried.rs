//! How a user agent that moves is spelled in Redis: read out of its record and index, packed for the import script (PR-37).
//!
//! It deliberately does not know which user agents move, and in what portions.

use std::collections::HashMap;

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{
    Fate, KeyDigest, MessageId, MessageNumber, SubscriptionId, SubscriptionName, Topic, Urgency, UserAgentId,
};

use super::answers::Pairs;
use super::layout::{self, EPOCH, LANE, Record, WITH_SENDER, six, six_of};
use crate::storage::portable::{PortableExpectation, PortableMessage, PortableSubscription};
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{Outcome, PASSING_WITH_RECEIPT, Portable, SenderTag};

/// What a record says, without its messages.
pub(super) fn portable(user_agent: UserAgentId, record: &Record) -> Portable {
    let subscription = |s: &layout::Subscription| PortableSubscription {
        id: s.id,
        name: SubscriptionName(s.name),
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
        outcomes: Vec::new(),
        expected: Vec::new(),
    }
}

/// What the index says of a message.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) id: MessageId,
    pub(super) subscription: SubscriptionId,
    urgency: Urgency,
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
        let nonce = fields.number()?;
        let subscription = SubscriptionId(fields.array()?);
        let _size: [u8; 4] = fields.array()?;
        let expires_at_ms = six_of(fields.array()?);
        let sealed_by = fields.byte()?;
        // A zero behind it asks for a receipt.
        let asked = fields.0.strip_suffix(&[0]);
        let tail = asked.unwrap_or(fields.0);
        let (topic, sender) = match tail.split_last_chunk::<9>() {
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
                nonce,
            },
            subscription,
            urgency: u8::try_from(score / LANE)
                .ok()
                .and_then(Urgency::from_u8)
                .ok_or(Unreadable)?,
            expires_at_ms,
            sealed_by,
            sender,
            topic,
            asks_receipt: asked.is_some(),
        })
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
    /// None as long as the message waits. Whoever moves has no channel through which one that passes by could be
    /// acknowledged.
    fate: Option<Fate>,
}

impl Outbox {
    pub(super) fn read(user_agent: UserAgentId, pairs: Pairs) -> Result<Self, Unreadable> {
        let mut entries = HashMap::with_capacity(pairs.len());
        // A last number stands among them.
        for (nonce, value) in pairs.into_iter().filter(|(nonce, _)| nonce.len() == 8) {
            let mut fields = Fields(&value);
            let number = MessageNumber(fields.number()?);
            let receipts = UserAgentId(fields.array()?);
            let _subscription: [u8; 8] = fields.array()?;
            let passes = number == PASSING_WITH_RECEIPT;
            let fate = Fate::from_byte(fields.byte()?).or(passes.then_some(Fate::GivenUp));
            let nonce_read = Fields(&nonce).number()?;
            let id = MessageId {
                number,
                nonce: nonce_read,
            };
            entries.insert(nonce, Owed { receipts, id, fate });
        }
        Ok(Self { user_agent, entries })
    }

    /// What became of a message, if it ended.
    pub(super) fn outcome(&self, nonce: &[u8]) -> Option<Outcome> {
        let owed = self.entries.get(nonce)?;
        Some(Outcome {
            receipts: owed.receipts,
            user_agent: self.user_agent,
            id: owed.id,
            fate: owed.fate?,
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
        expected.push(PortableExpectation {
            user_agent: UserAgentId(message.array()?),
            nonce: message.number()?,
            dialect: Dialect::from_byte(value.byte()?).ok_or(Unreadable)?,
            sealed_by: KeyId(value.byte()?),
            deadline_ms: six_of(value.array()?),
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
        outcomes: Vec::new(),
        expected: Vec::new(),
    }
}

/// As the import script takes it.
pub(super) fn pack_outcome(outcome: &Outcome) -> Vec<u8> {
    let id = outcome.id.to_bytes();
    [&outcome.receipts.0[..], &id, &[outcome.fate.to_byte()]].concat()
}

/// As the import script takes it.
pub(super) fn pack_expectation(expected: &PortableExpectation) -> Vec<u8> {
    let mut packed = Vec::with_capacity(32);
    packed.extend(expected.user_agent.0);
    packed.extend(expected.nonce.to_be_bytes());
    packed.extend([expected.dialect.to_byte(), expected.sealed_by.0]);
    packed.extend(six(expected.deadline_ms));
    packed
}

/// As the import script takes it.
pub(super) fn pack_subscription(subscription: &PortableSubscription) -> Vec<u8> {
    let mut packed = Vec::with_capacity(60);
    packed.extend(subscription.id.0);
    packed.extend(subscription.name.0);
    packed.extend(
        u32::try_from(subscription.created_at_secs)
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    packed.extend(subscription.key.iter().flat_map(|key| key.0));
    packed
}

/// As the import script takes it.
pub(super) fn pack_message(message: &PortableMessage) -> Vec<u8> {
    let body = &message.content.body;
    let topic = message.topic.as_ref().map_or("", |topic| topic.as_str());
    let stored = layout::stored(message.key.as_ref(), &message.content);
    let mut packed = Vec::with_capacity(stored.len() + 96);
    packed.extend(message.id.number.0.to_be_bytes());
    packed.extend(message.id.nonce.to_be_bytes());
    packed.extend(message.subscription.0);
    packed.push(message.urgency as u8);
    packed.extend(six(message.expires_at_ms));
    packed.push(message.sealed_by);
    packed.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    packed.push(message.receipts.is_some().into());
    packed.extend(message.receipts.unwrap_or(UserAgentId([0; 16])).0);
    packed.extend(message.sender.map_or([0; 8], SenderTag::to_bytes));
    packed.push(topic.len() as u8);
    packed.extend(topic.as_bytes());
    packed.extend(stored);
    packed
}

//! How a user agent that moves is spelled in Redis: read out of its record and index, packed for the import script (PR-37).
//!
//! It deliberately does not know which user agents move, and in what portions.

use push_protocol::{
    KeyDigest, MessageId, MessageNumber, SubscriptionId, SubscriptionName, Topic, Urgency, UserAgentId,
};

use super::layout::{self, EPOCH, LANE, Record, six, six_of};
use crate::storage::Portable;
use crate::storage::portable::{PortableMessage, PortableSubscription};
use crate::storage::spelling::{Fields, Unreadable, put_content_header};

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
    topic: Option<Topic>,
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
        let topic = match fields.0.strip_suffix(&[0]).unwrap_or(fields.0) {
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
            topic,
        })
    }

    /// With its content, as the enqueue script stored it.
    pub(super) fn with(self, stored: &[u8]) -> Result<PortableMessage, Unreadable> {
        let (_key, content) = layout::read_stored(&bytes::Bytes::copy_from_slice(stored))?;
        Ok(PortableMessage {
            id: self.id,
            subscription: self.subscription,
            urgency: self.urgency,
            topic: self.topic,
            accepted_at_ms: self.id.number.0 / 1_000,
            expires_at_ms: self.expires_at_ms,
            sealed_by: self.sealed_by,
            key: None,
            receipts: None,
            content,
        })
    }
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
    let mut packed = Vec::with_capacity(body.len() + 80);
    packed.extend(message.id.number.0.to_be_bytes());
    packed.extend(message.id.nonce.to_be_bytes());
    packed.extend(message.subscription.0);
    packed.push(message.urgency as u8);
    packed.extend(six(message.expires_at_ms));
    packed.push(message.sealed_by);
    packed.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    packed.push(topic.len() as u8);
    packed.extend(topic.as_bytes());
    put_content_header(&mut packed, &message.content);
    packed.extend_from_slice(body);
    packed
}

//! The values in a queue beside its record, as embedded storage encodes them: messages, and receipt state.
//!
//! The 33rd byte ([`KIND_AT`]) says what a value is. In a message it is the urgency, and its upper bits say what else is in
//! the header. Receipt state has one of three bits there that no message has. [`layout`](super::layout) lists the keys.

use bytes::Bytes;
use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{
    KeyDigest, MessageId, MessageNumber, PushMessage, ReceiptOutcome, SubscriptionId, SubscriptionName,
    Topic, Urgency, UserAgentId,
};

use crate::defaults::STORE_SEPARATE_BODY_BYTES;
use crate::storage::portable::PortableMessage;
use crate::storage::queue::{Expectation, IndexEntry, OutboxEntry, PassingMessage, Stored, UserAgent};
use crate::storage::spelling::{Fields, Unreadable, put_content_header, put_text};
use crate::storage::{RECEIPTS, SenderTag};

/// The position of the byte that says what a value is.
const KIND_AT: usize = 32;
/// A message whose user agent is told the key of its subscription.
const WITH_KEY: u8 = 0x04;
/// A message for which a receipt was requested.
const WITH_RECEIPT: u8 = 0x08;
/// A message whose body is stored separately, with the body's length in its place.
const SEPARATE_BODY: u8 = 0x10;
/// Not a message: a message with TTL 0 that is remembered while its acknowledgement counts.
const PASSING: u8 = 0x20;
/// Not a message: an expected receipt.
const EXPECTATION: u8 = 0x40;
/// Not a message: how one ended. The other bits are its receipt outcome.
const ENDED: u8 = 0x80;
/// A message that counts for a sender. Both bits together; a value that is not a message has only one of them.
const WITH_SENDER: u8 = PASSING | EXPECTATION;

/// Whether a body of this length is stored separately, so that loading a queue does not read it.
pub(super) fn is_separate(body_bytes: usize) -> bool {
    body_bytes > STORE_SEPARATE_BODY_BYTES
}

/// The body of a message, if it is stored separately.
pub(super) fn separate_body(stored: &Stored) -> Option<&[u8]> {
    let body = &stored.message.content.body;
    is_separate(body.len()).then_some(&body[..])
}

/// A message without its number, and without a body that is stored separately.
pub(super) fn encode_message(stored: &Stored) -> Vec<u8> {
    let message = &stored.message;
    let content = &message.content;
    let apart = u32::try_from(content.body.len())
        .ok()
        .filter(|_| is_separate(content.body.len()));
    let body_here = if apart.is_some() { &[] } else { &content.body[..] };
    let mut value = Vec::with_capacity(body_here.len() + 128);
    value.extend(message.id.nonce.to_be_bytes());
    value.extend(message.subscription.0);
    value.extend(message.accepted_at_ms.to_be_bytes());
    value.extend(stored.expires_at_ms.to_be_bytes());
    let with_key = if message.key.is_some() { WITH_KEY } else { 0 };
    let with_receipt = if stored.receipts.is_some() {
        WITH_RECEIPT
    } else {
        0
    };
    let separate_body = if apart.is_some() { SEPARATE_BODY } else { 0 };
    let with_sender = if stored.sender.is_some() { WITH_SENDER } else { 0 };
    value.push(message.urgency as u8 | with_key | with_receipt | separate_body | with_sender);
    value.push(stored.sealed_by);
    value.extend(stored.sender.iter().flat_map(|sender| sender.to_bytes()));
    value.extend(message.key.iter().flat_map(|key| key.0));
    value.extend(stored.receipts.iter().flat_map(|receipts| receipts.0));
    put_text(&mut value, stored.topic.as_ref().map(Topic::as_str));
    put_content_header(&mut value, content);
    value.extend(apart.iter().flat_map(|length| length.to_be_bytes()));
    value.extend(body_here);
    value
}

/// How a message ended.
pub(super) fn encode_outbox_entry(ended: &OutboxEntry) -> [u8; KIND_AT + 1] {
    let mut value = [0; KIND_AT + 1];
    value[..8].copy_from_slice(&ended.id.nonce.to_be_bytes());
    value[8..24].copy_from_slice(&ended.receipts.0);
    value[24..32].copy_from_slice(&ended.id.number.0.to_be_bytes());
    value[KIND_AT] = ENDED | ended.how.to_byte();
    value
}

/// A remembered message with TTL 0.
pub(super) fn encode_passing(passing: &PassingMessage) -> [u8; KIND_AT + 9] {
    let mut value = [0; KIND_AT + 9];
    value[..8].copy_from_slice(&passing.nonce.to_be_bytes());
    value[8..24].copy_from_slice(&passing.receipts.0);
    value[24..32].copy_from_slice(&passing.until_ms.to_be_bytes());
    value[KIND_AT] = PASSING;
    value[KIND_AT + 1..].copy_from_slice(&passing.subscription.0);
    value
}

/// An expected receipt.
pub(super) fn encode_expectation(expected: &Expectation) -> [u8; KIND_AT + 3] {
    let mut value = [0; KIND_AT + 3];
    value[..8].copy_from_slice(&expected.nonce.to_be_bytes());
    value[8..24].copy_from_slice(&expected.user_agent.0);
    value[24..32].copy_from_slice(&expected.deadline_ms.to_be_bytes());
    value[KIND_AT..].copy_from_slice(&[EXPECTATION, expected.dialect.to_byte(), expected.sealed_by.0]);
    value
}

/// A value in a queue beside the record.
pub(super) enum Value {
    Message(DecodedMessage),
    Passing(PassingMessage),
    OutboxEntry(OutboxEntry),
    Expectation(Expectation),
}

impl Value {
    /// The reverse of [`encode_message`], [`encode_passing`], [`encode_outbox_entry`] and [`encode_expectation`].
    pub(super) fn decode(number: MessageNumber, value: &[u8]) -> Result<Self, Unreadable> {
        let kind = *value.get(KIND_AT).ok_or(Unreadable)?;
        // A message has neither of the bits PASSING and EXPECTATION or, with a sender, both, and never ENDED.
        if kind < PASSING || kind & (WITH_SENDER | ENDED) == WITH_SENDER {
            return DecodedMessage::decode(number, value).map(Self::Message);
        }
        let mut fields = Fields(value);
        let nonce = fields.number()?;
        let user_agent = UserAgentId(fields.array()?);
        // In an entry of the outbox, the number of its message.
        let time_ms = fields.number()?;
        let value = match fields.byte()? {
            PASSING => Self::Passing(PassingMessage {
                number,
                nonce,
                subscription: SubscriptionId(fields.array()?),
                receipts: user_agent,
                until_ms: time_ms,
            }),
            EXPECTATION => Self::Expectation(Expectation {
                number,
                user_agent,
                nonce,
                deadline_ms: time_ms,
                dialect: Dialect::from_byte(fields.byte()?).ok_or(Unreadable)?,
                sealed_by: KeyId(fields.byte()?),
            }),
            kind => Self::OutboxEntry(OutboxEntry {
                id: MessageId {
                    number: MessageNumber(time_ms),
                    nonce,
                },
                receipts: user_agent,
                how: kind
                    .checked_sub(ENDED)
                    .and_then(ReceiptOutcome::from_byte)
                    .ok_or(Unreadable)?,
            }),
        };
        match fields.0 {
            [] => Ok(value),
            _ => Err(Unreadable),
        }
    }

    /// Loads it into the state of its user agent.
    pub(super) fn load_into(self, state: &mut UserAgent, number: MessageNumber) {
        match self {
            Self::Message(read) => state.put_in(read.waiting(), read.receipts),
            Self::Passing(passing) => state.receipt_state.load_passing(passing),
            Self::OutboxEntry(ended) => state.receipt_state.insert_outbox(number, ended),
            Self::Expectation(expected) => {
                let is_owed = state.subscription(RECEIPTS).is_some();
                state.receipt_state.add_expectation(expected, is_owed);
            }
        }
    }
}

/// A message as it was decoded, without the name and the remaining time, which its user agent's state knows.
pub(super) struct DecodedMessage {
    pub(super) message: PushMessage,
    topic: Option<Topic>,
    expires_at_ms: u64,
    sealed_by: u8,
    receipts: Option<UserAgentId>,
    sender: Option<SenderTag>,
    /// The length of a body that is stored separately and was not read.
    pub(super) separate_bytes: Option<u32>,
}

impl DecodedMessage {
    /// The reverse of [`encode_message`]. The body is a copy: a slice would keep the block alive in which it stands.
    pub(super) fn decode(number: MessageNumber, value: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = Fields(value);
        let nonce = fields.number()?;
        let subscription = SubscriptionId(fields.array()?);
        let accepted_at_ms = fields.number()?;
        let expires_at_ms = fields.number()?;
        let kind = fields.byte()?;
        let flags = WITH_KEY | WITH_RECEIPT | SEPARATE_BODY | WITH_SENDER;
        let urgency = Urgency::from_u8(kind & !flags).ok_or(Unreadable)?;
        let sealed_by = fields.byte()?;
        let sender = match kind & WITH_SENDER {
            0 => None,
            WITH_SENDER => Some(SenderTag::from_bytes(fields.array()?).ok_or(Unreadable)?),
            _ => return Err(Unreadable),
        };
        let key = match kind & WITH_KEY {
            0 => None,
            _ => Some(Box::new(KeyDigest(fields.array()?))),
        };
        let receipts = match kind & WITH_RECEIPT {
            0 => None,
            _ => Some(UserAgentId(fields.array()?)),
        };
        let topic = fields.text()?.map(|text| Topic::parse(text).ok_or(Unreadable));
        let header = fields.content_header()?;
        let apart = match kind & SEPARATE_BODY {
            0 => None,
            _ => Some(u32::from_be_bytes(fields.array()?)),
        };
        if apart.is_some() && !fields.0.is_empty() {
            return Err(Unreadable);
        }
        let content = header.with(Bytes::copy_from_slice(fields.0));
        let message = PushMessage {
            id: MessageId { number, nonce },
            subscription,
            name: SubscriptionName([0; 16]),
            urgency,
            content,
            key,
            sealed_by: KeyId(sealed_by),
            accepted_at_ms,
            remaining_ms: 0,
        };
        Ok(Self {
            message,
            topic: topic.transpose()?,
            expires_at_ms,
            sealed_by,
            receipts,
            sender,
            separate_bytes: apart,
        })
    }

    /// Adds the separately stored body. Refuses one of another length.
    pub(super) fn with_body(mut self, body: &[u8]) -> Result<Self, Unreadable> {
        if self
            .separate_bytes
            .take()
            .is_some_and(|length| length as usize != body.len())
        {
            return Err(Unreadable);
        }
        self.message.content.body = Bytes::copy_from_slice(body);
        Ok(self)
    }

    /// As it is exported.
    pub(super) fn portable(self) -> PortableMessage {
        let message = self.message;
        PortableMessage {
            id: message.id,
            subscription: message.subscription,
            urgency: message.urgency,
            topic: self.topic,
            accepted_at_ms: message.accepted_at_ms,
            expires_at_ms: self.expires_at_ms,
            sealed_by: self.sealed_by,
            key: message.key.as_deref().copied(),
            receipts: self.receipts,
            sender: self.sender,
            content: message.content,
        }
    }

    fn body_bytes(&self) -> u32 {
        let here = || u32::try_from(self.message.content.body.len()).unwrap_or(u32::MAX);
        self.separate_bytes.unwrap_or_else(here)
    }

    /// Its entry in the index.
    pub(super) fn waiting(&self) -> IndexEntry {
        IndexEntry {
            id: self.message.id,
            subscription: self.message.subscription,
            expires_at_ms: self.expires_at_ms,
            topic: self.topic.map(Box::new),
            message: None,
            body_bytes: self.body_bytes(),
            urgency: self.message.urgency,
            sealed_by: self.sealed_by,
            sender: self.sender,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use push_protocol::{Coding, Content};

    use super::super::keys::{deadline_key_of, deadline_of, encode_deadline};
    use super::*;
    use crate::storage::queue::FIRST_RECEIPT_NUMBER;

    fn stored() -> Stored {
        let content = Content {
            coding: Coding::Aesgcm {
                encryption: "salt=c2FsdA".into(),
                crypto_key: "dh=ZGg".into(),
            },
            media_type: Some("text/plain".into()),
            body: Bytes::from_static(b"\0body\xff"),
        };
        Stored {
            message: Arc::new(PushMessage {
                id: MessageId {
                    number: MessageNumber(77),
                    nonce: 88,
                },
                subscription: SubscriptionId([9; 8]),
                name: SubscriptionName([0; 16]),
                key: Some(Box::new(KeyDigest([4; 32]))),
                sealed_by: KeyId(3),
                urgency: Urgency::High,
                content,
                accepted_at_ms: 1_234,
                remaining_ms: 0,
            }),
            topic: Topic::parse("news"),
            expires_at_ms: 5_678,
            sealed_by: 3,
            receipts: Some(UserAgentId([6; 16])),
            sender: SenderTag::from_bytes([5; 8]),
        }
    }

    fn ended() -> OutboxEntry {
        OutboxEntry {
            id: MessageId {
                number: MessageNumber(1),
                nonce: u64::MAX,
            },
            receipts: UserAgentId([6; 16]),
            how: ReceiptOutcome::GivenUp,
        }
    }

    fn expectation() -> Expectation {
        Expectation {
            number: FIRST_RECEIPT_NUMBER,
            user_agent: UserAgentId([7; 16]),
            nonce: u64::MAX,
            dialect: Dialect::Webpush,
            sealed_by: KeyId(9),
            deadline_ms: 77,
        }
    }

    fn passing() -> PassingMessage {
        PassingMessage {
            number: FIRST_RECEIPT_NUMBER,
            nonce: u64::MAX,
            subscription: SubscriptionId([8; 8]),
            receipts: UserAgentId([6; 16]),
            until_ms: 78,
        }
    }

    /// An encoded message is decoded to the same message.
    #[test]
    fn a_message_survives_its_encoding() {
        let stored = stored();
        let read = DecodedMessage::decode(MessageNumber(77), &encode_message(&stored)).unwrap();
        assert_eq!(read.message, *stored.message);
        assert_eq!((read.topic, read.expires_at_ms), (stored.topic, 5_678));
        assert_eq!((read.receipts, read.sender), (stored.receipts, stored.sender));
        let unknown = Stored {
            sender: None,
            ..stored
        };
        let read = DecodedMessage::decode(MessageNumber(77), &encode_message(&unknown)).unwrap();
        assert_eq!((read.message, read.sender), ((*unknown.message).clone(), None));
    }

    /// PR-43: a long body is not read with the queue, but its length is; header and body together give the message.
    #[test]
    fn a_long_body_is_stored_separately() {
        let mut long = stored();
        let body = vec![7; STORE_SEPARATE_BODY_BYTES + 1];
        Arc::make_mut(&mut long.message).content.body = body.clone().into();
        let value = encode_message(&long);
        assert!(value.len() < 200, "{}", value.len());
        let read = DecodedMessage::decode(MessageNumber(77), &value).unwrap();
        assert_eq!(read.waiting().body_bytes as usize, body.len());
        assert!(
            DecodedMessage::decode(MessageNumber(77), &value)
                .unwrap()
                .with_body(b"short")
                .is_err()
        );
        let read = read.with_body(separate_body(&long).unwrap()).unwrap();
        assert_eq!(read.message, *long.message);
        assert!(separate_body(&stored()).is_none());
    }

    /// PR-25: receipt state is decoded as it was encoded, and is not mistaken for a message.
    #[test]
    fn receipt_state_survives_its_encoding() {
        let passes = Value::decode(FIRST_RECEIPT_NUMBER, &encode_passing(&passing()));
        assert!(matches!(passes, Ok(Value::Passing(read)) if read == passing()));
        let ended = Value::decode(MessageNumber(5), &encode_outbox_entry(&ended()));
        assert!(matches!(ended, Ok(Value::OutboxEntry(read)) if read == self::ended()));
        let expected = Value::decode(FIRST_RECEIPT_NUMBER, &encode_expectation(&expectation()));
        assert!(matches!(expected, Ok(Value::Expectation(read)) if read == expectation()));
        let receipts = UserAgentId([5; 16]);
        let key = deadline_key_of(receipts, &expectation());
        let overdue = deadline_of(&key, &encode_deadline(&expectation())).unwrap();
        assert_eq!(overdue, expectation().overdue(receipts));
        let message = Value::decode(MessageNumber(77), &encode_message(&stored()));
        assert!(matches!(message, Ok(Value::Message(_))));
    }

    /// A value cut short or changed is refused or read as something else, and never a panic.
    #[test]
    fn a_garbled_value_never_panics() {
        let value = encode_message(&stored());
        let header = value.len() - 6;
        for end in 0..header {
            assert!(
                DecodedMessage::decode(MessageNumber(1), &value[..end]).is_err(),
                "{end}"
            );
        }
        for position in 0..value.len() {
            let mut garbled = value.clone();
            garbled[position] ^= 0x81;
            let _ = Value::decode(MessageNumber(1), &garbled);
        }
        let others: [&[u8]; 3] = [
            &encode_passing(&passing()),
            &encode_outbox_entry(&ended()),
            &encode_expectation(&expectation()),
        ];
        for value in others {
            for end in 0..value.len() {
                assert!(
                    Value::decode(FIRST_RECEIPT_NUMBER, &value[..end]).is_err(),
                    "{end}"
                );
            }
            assert!(Value::decode(FIRST_RECEIPT_NUMBER, &[value, b"x"].concat()).is_err());
        }
    }
}

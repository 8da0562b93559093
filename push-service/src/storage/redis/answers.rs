//! What scripts answer, as the outcomes of steps.
//!
//! An answer that can't be read is trouble, never an outcome: nobody is called unknown, and nothing accepted, by a
//! misunderstanding (PR-3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use push_protocol::{MessageId, MessageNumber, PushMessage, SubscriptionId, SubscriptionName, Urgency};
use redis::Value;

use super::layout::{seat_of, six_of};
use crate::defaults::LONGEST_RETRY_AFTER;
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{Page, Refreshed, Seat, StorageError, Subscribed};

/// The trouble that an answer is which can't be read.
pub(super) fn unreadable(_: Unreadable) -> StorageError {
    StorageError::Unavailable("Redis holds or answers what this node cannot read".to_owned())
}

/// An answer that is one string.
pub(super) fn text(value: Value) -> Result<Vec<u8>, StorageError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unreadable(Unreadable)),
    }
}

/// An answer that is a list, or nothing.
pub(super) fn list(value: Value) -> Result<Option<Vec<Value>>, StorageError> {
    match value {
        Value::Array(values) => Ok(Some(values)),
        Value::Nil => Ok(None),
        _ => Err(unreadable(Unreadable)),
    }
}

pub(super) fn number(value: &Value) -> Result<u64, StorageError> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| unreadable(Unreadable)),
        _ => Err(unreadable(Unreadable)),
    }
}

/// Strings side by side in a list.
pub(super) fn texts<const N: usize>(values: Vec<Value>) -> Result<[Vec<u8>; N], StorageError> {
    let texts = values.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    texts.try_into().map_err(|_| unreadable(Unreadable))
}

/// What became of a message.
pub(super) enum Accepted {
    NoSubscription,
    RateLimited(Duration),
    QueueFull,
    Passed(Holder),
    Stored(StoredAnswer),
}

/// Who has the seat, and what of his has to go from his window.
pub(super) struct Holder {
    pub(super) seat: Option<Seat>,
    pub(super) name: SubscriptionName,
    pub(super) removed: Vec<MessageId>,
}

pub(super) struct StoredAnswer {
    pub(super) number: MessageNumber,
    pub(super) previous: MessageNumber,
    pub(super) holder: Holder,
    pub(super) replaced: bool,
    pub(super) evicted: u32,
    pub(super) expired: u32,
    /// Something of the user agent's is due to be dropped.
    pub(super) due: bool,
    pub(super) accepted_at_ms: u64,
}

pub(super) fn accepted(answer: &[u8]) -> Result<Accepted, Unreadable> {
    let mut fields = Fields(answer);
    Ok(match fields.byte()? {
        b'N' => Accepted::NoSubscription,
        b'F' => Accepted::QueueFull,
        b'L' => {
            let secs = f64::from_be_bytes(fields.array()?);
            let wait = Duration::try_from_secs_f64(secs)
                .map_or(LONGEST_RETRY_AFTER, |wait| wait.min(LONGEST_RETRY_AFTER));
            Accepted::RateLimited(wait)
        }
        b'P' => Accepted::Passed(Holder {
            seat: seat_of(fields.array()?),
            name: SubscriptionName(fields.array()?),
            removed: ids(fields.0)?,
        }),
        b'S' => {
            let (number, previous) = (MessageNumber(fields.number()?), MessageNumber(fields.number()?));
            let (seat, name) = (seat_of(fields.array()?), SubscriptionName(fields.array()?));
            let replaced = fields.byte()? != 0;
            let evicted = u32::from_be_bytes(fields.array()?);
            let expired = u32::from_be_bytes(fields.array()?);
            let due = fields.byte()? != 0;
            let accepted_at_ms = six_of(fields.array()?);
            let removed = ids(fields.0)?;
            Accepted::Stored(StoredAnswer {
                number,
                previous,
                holder: Holder { seat, name, removed },
                replaced,
                evicted,
                expired,
                due,
                accepted_at_ms,
            })
        }
        _ => return Err(Unreadable),
    })
}

/// What became of acknowledged messages.
pub(super) struct Acknowledged {
    pub(super) seat: Option<Seat>,
    /// For each, whether it was there and in time.
    pub(super) there: Vec<bool>,
    pub(super) removed: Vec<MessageId>,
}

pub(super) fn acknowledged(answer: &[u8], asked: usize) -> Result<Acknowledged, Unreadable> {
    let mut fields = Fields(answer);
    let seat = seat_of(fields.array()?);
    let (there, removed) = fields.0.split_at_checked(asked).ok_or(Unreadable)?;
    Ok(Acknowledged {
        seat,
        there: there.iter().map(|there| *there == b'1').collect(),
        removed: ids(removed)?,
    })
}

pub(super) fn subscribed(answer: &[u8]) -> Result<Subscribed, Unreadable> {
    let mut fields = Fields(answer);
    Ok(match fields.byte()? {
        b'C' => Subscribed::Created(SubscriptionId(fields.array()?)),
        b'K' => Subscribed::Kept(SubscriptionId(fields.array()?)),
        b'M' => Subscribed::TooMany,
        _ => return Err(Unreadable),
    })
}

/// With whether something is due to be dropped.
pub(super) fn refreshed(answer: &[u8]) -> Result<(Refreshed, bool), Unreadable> {
    let mut fields = Fields(answer);
    Ok(match fields.byte()? {
        b'U' => (Refreshed::Unknown, false),
        b'D' => (Refreshed::Displaced, false),
        b'H' => {
            let last = MessageNumber(fields.number()?);
            (Refreshed::Held { last }, fields.byte()? != 0)
        }
        _ => return Err(Unreadable),
    })
}

/// Whole ids, 16 bytes each.
pub(super) fn ids(packed: &[u8]) -> Result<Vec<MessageId>, Unreadable> {
    let (chunks, rest) = packed.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Unreadable);
    }
    Ok(chunks.iter().map(id_of).collect())
}

fn id_of(bytes: &[u8; 16]) -> MessageId {
    let bits = u128::from_be_bytes(*bytes);
    MessageId {
        number: MessageNumber((bits >> 64) as u64),
        nonce: bits as u64,
    }
}

/// The reverse of [`ids`].
pub(super) fn packed(messages: &[MessageId]) -> Vec<u8> {
    let both = |id: &MessageId| [id.number.0.to_be_bytes(), id.nonce.to_be_bytes()];
    messages.iter().flat_map(both).flatten().collect()
}

/// A page, and whether it passed over something that is due to be dropped.
///
/// A message whose body is not there or can't be read is left out: it must not keep those behind it.
pub(super) fn page(values: Vec<Value>) -> Result<(Page, bool), StorageError> {
    let mut values = values.into_iter();
    let head = text(values.next().ok_or(Unreadable).map_err(unreadable)?)?;
    let mut fields = Fields(&head);
    let mut page = Page::default();
    let mut header = || {
        Ok((
            MessageNumber(fields.number()?),
            fields.byte()? != 0,
            fields.byte()? != 0,
        ))
    };
    let (upto, more, mut garbage) = header().map_err(unreadable)?;
    (page.upto, page.more) = (upto, more);
    for value in values {
        let row = Row::read(&mut fields).map_err(unreadable)?;
        match row.message(text(value)?) {
            Ok(message) => page.messages.push(Arc::new(message)),
            Err(Unreadable) => garbage = true,
        }
    }
    Ok((page, garbage))
}

/// What a page or wake-up says of a message beside its content.
pub(super) struct Row {
    pub(super) id: MessageId,
    pub(super) subscription: SubscriptionId,
    pub(super) name: SubscriptionName,
    pub(super) urgency: Urgency,
    pub(super) remaining_ms: u64,
    pub(super) sealed_by: push_protocol::capability::KeyId,
}

impl Row {
    fn read(fields: &mut Fields<'_>) -> Result<Self, Unreadable> {
        let row = Self {
            id: id_of(&fields.array()?),
            subscription: SubscriptionId(fields.array()?),
            name: SubscriptionName(fields.array()?),
            urgency: Urgency::from_u8(fields.byte()?).ok_or(Unreadable)?,
            remaining_ms: six_of(fields.array()?),
            sealed_by: {
                let _size: [u8; 4] = fields.array()?;
                push_protocol::capability::KeyId(fields.byte()?)
            },
        };
        Ok(row)
    }

    /// With its content, as the enqueue script stored it: without a copy of the body.
    pub(super) fn message(self, stored: Vec<u8>) -> Result<PushMessage, Unreadable> {
        let stored = Bytes::from(stored);
        let mut fields = Fields(&stored);
        let header = fields.content_header()?;
        let body = stored.slice_ref(fields.0);
        Ok(PushMessage {
            id: self.id,
            subscription: self.subscription,
            name: self.name,
            urgency: self.urgency,
            content: header.with(body),
            key: None,
            sealed_by: self.sealed_by,
            accepted_at_ms: self.id.number.0 / 1_000,
            remaining_ms: self.remaining_ms,
        })
    }
}

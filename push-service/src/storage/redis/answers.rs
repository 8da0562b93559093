//! What scripts answer, as the outcomes of steps.
//!
//! An answer that can't be read is trouble, never an outcome: nobody is called unknown, and nothing accepted, by a
//! misunderstanding (PR-3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use push_protocol::capability::KeyId;
use push_protocol::{
    Fate, MessageId, MessageNumber, PushMessage, SubscriptionId, SubscriptionName, Urgency, UserAgentId,
};
use redis::Value;

use super::layout::{read_stored, seat_of, six_of};
use super::senders::Counted;
use crate::defaults::LONGEST_RETRY_AFTER;
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{
    Ending, Expecting, Outcome, Overdue, Page, Refreshed, Seat, SenderTag, StorageError, Subscribed, Traced,
};

/// The trouble that an answer is which can't be read.
pub(super) fn unreadable(_: Unreadable) -> StorageError {
    StorageError::Unavailable("Redis returned a value that this node cannot read".to_owned())
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

/// Fields and values of a hash.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn pairs(value: Value) -> Result<Pairs, StorageError> {
    match value {
        Value::Map(pairs) => {
            let both = |(field, value)| Ok((text(field)?, text(value)?));
            pairs.into_iter().map(both).collect()
        }
        Value::Nil => Ok(Vec::new()),
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
    Passed(Holder, News),
    Stored(StoredAnswer),
}

/// Who has the seat, and what of his has to go from his window.
pub(super) struct Holder {
    pub(super) seat: Option<Seat>,
    pub(super) name: SubscriptionName,
    pub(super) removed: Removed,
}

/// What a script says beside the outcome of its step.
#[derive(Clone, Copy)]
pub(super) struct News {
    /// Something of the user agent's is due to be dropped.
    pub(super) due: bool,
    /// An outcome waits in the outbox.
    pub(super) owes: bool,
}

impl News {
    fn of(byte: u8) -> Self {
        Self {
            due: byte & 1 != 0,
            owes: byte & 2 != 0,
        }
    }
}

pub(super) struct StoredAnswer {
    pub(super) number: MessageNumber,
    pub(super) previous: MessageNumber,
    pub(super) holder: Holder,
    pub(super) replaced: bool,
    pub(super) evicted: u32,
    pub(super) expired: u32,
    pub(super) news: News,
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
        b'P' => {
            let (seat, name) = (seat_of(fields.array()?), SubscriptionName(fields.array()?));
            let news = News::of(fields.byte()?);
            let removed = removed(fields.0)?;
            Accepted::Passed(Holder { seat, name, removed }, news)
        }
        b'S' => {
            let (number, previous) = (MessageNumber(fields.number()?), MessageNumber(fields.number()?));
            let (seat, name) = (seat_of(fields.array()?), SubscriptionName(fields.array()?));
            let replaced = fields.byte()? != 0;
            let evicted = u32::from_be_bytes(fields.array()?);
            let expired = u32::from_be_bytes(fields.array()?);
            let news = News::of(fields.byte()?);
            let accepted_at_ms = six_of(fields.array()?);
            let removed = removed(fields.0)?;
            Accepted::Stored(StoredAnswer {
                number,
                previous,
                holder: Holder { seat, name, removed },
                replaced,
                evicted,
                expired,
                news,
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
    pub(super) removed: Removed,
    /// An outcome waits in the outbox.
    pub(super) owes: bool,
}

pub(super) fn acknowledged(answer: &[u8], asked: usize) -> Result<Acknowledged, Unreadable> {
    let mut fields = Fields(answer);
    let seat = seat_of(fields.array()?);
    let (there, gone) = fields.0.split_at_checked(asked).ok_or(Unreadable)?;
    Ok(Acknowledged {
        seat,
        there: there.iter().map(|digit| digit & 1 != 0).collect(),
        removed: removed(gone)?,
        owes: there.iter().any(|digit| digit & 2 != 0),
    })
}

pub(super) fn subscribed(answer: &[u8]) -> Result<Subscribed, Unreadable> {
    let mut fields = Fields(answer);
    Ok(match fields.byte()? {
        b'C' => Subscribed::Created(SubscriptionId(fields.array()?)),
        b'K' => Subscribed::Kept(SubscriptionId(fields.array()?)),
        b'M' => Subscribed::TooMany,
        b'U' => Subscribed::UnknownUserAgent,
        _ => return Err(Unreadable),
    })
}

/// What ended, of a user agent of whom something did.
pub(super) struct Ended {
    pub(super) ending: Ending,
    pub(super) seat: Option<Seat>,
    /// An outcome waits in the outbox.
    pub(super) owes: bool,
    /// Messages are left for sweeps to remove.
    pub(super) due: bool,
    /// What left the window of whoever has the seat.
    pub(super) removed: Removed,
}

pub(super) fn ended(answer: &[u8]) -> Result<Ended, Unreadable> {
    let mut fields = Fields(answer);
    let seat = seat_of(fields.array()?);
    let news = fields.byte()?;
    Ok(Ended {
        seat,
        owes: news & 1 != 0,
        due: news & 2 != 0,
        ending: match fields.byte()? {
            0 => Ending::All,
            _ => Ending::One(SubscriptionId(fields.array()?)),
        },
        removed: removed(fields.0)?,
    })
}

pub(super) fn expecting(answer: &[u8]) -> Result<Expecting, Unreadable> {
    Ok(match answer {
        b"E" => Expecting::Expected,
        b"M" => Expecting::TooMany,
        b"N" => Expecting::NoReceiptSubscription,
        _ => return Err(Unreadable),
    })
}

/// The seat of a receipt subscription, and how many receipts joined its queue.
pub(super) fn settled(answer: &[u8]) -> Result<(Option<Seat>, u32), Unreadable> {
    let mut fields = Fields(answer);
    let seat = seat_of(fields.array()?);
    Ok((seat, u32::from_be_bytes(fields.array()?)))
}

/// An outbox, and whether something in it has expired.
pub(super) fn outcomes(user_agent: UserAgentId, answer: &[u8]) -> Result<(Vec<Outcome>, bool), Unreadable> {
    let mut fields = Fields(answer);
    let has_expired = fields.byte()? != 0;
    let mut outcomes = Vec::with_capacity(fields.0.len() / OUTCOME_BYTES);
    while !fields.0.is_empty() {
        outcomes.push(outcome(user_agent, &mut fields)?);
    }
    Ok((outcomes, has_expired))
}

pub(super) fn traced(user_agent: UserAgentId, answer: &[u8]) -> Result<Traced, Unreadable> {
    match answer {
        b"W" => Ok(Traced::Waiting),
        ended => outcome(user_agent, &mut Fields(ended)).map(Traced::Ended),
    }
}

/// Receipt subscription, id, fate.
const OUTCOME_BYTES: usize = 33;

fn outcome(user_agent: UserAgentId, fields: &mut Fields<'_>) -> Result<Outcome, Unreadable> {
    Ok(Outcome {
        receipts: UserAgentId(fields.array()?),
        user_agent,
        id: id_of(&fields.array()?),
        fate: Fate::from_byte(fields.byte()?).ok_or(Unreadable)?,
    })
}

pub(super) fn overdue(answer: &[u8]) -> Result<Overdue, Unreadable> {
    let mut fields = Fields(answer);
    Ok(Overdue {
        receipts: spelled(&fields.array::<32>()?)?,
        user_agent: UserAgentId(fields.array()?),
        nonce: fields.number()?,
    })
}

/// A user agent in hexadecimal.
pub(super) fn spelled(text: &[u8]) -> Result<UserAgentId, Unreadable> {
    let text = std::str::from_utf8(text).map_err(|_| Unreadable)?;
    UserAgentId::parse(text).ok_or(Unreadable)
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

/// Messages that left a queue.
#[derive(Default)]
pub(super) struct Removed {
    pub(super) ids: Vec<MessageId>,
    pub(super) counted: Vec<Counted>,
}

/// What a script answers of each message that left, so that the node can count it (`parts/counted.lua`): size of the body,
/// expiry, sealing key, and a one with the sender or nine zeros.
const COUNTED_BYTES: usize = 4 + 6 + 1 + 1 + 8;

/// Whole ids, and behind all of them what is counted of each.
pub(super) fn removed(packed: &[u8]) -> Result<Removed, Unreadable> {
    let messages = packed.len() / (16 + COUNTED_BYTES);
    let (packed, counts) = packed.split_at_checked(16 * messages).ok_or(Unreadable)?;
    let (counts, rest) = counts.as_chunks::<COUNTED_BYTES>();
    if !rest.is_empty() || counts.len() != messages {
        return Err(Unreadable);
    }
    let ids = ids(packed)?;
    let counted = ids.iter().zip(counts).map(|(id, counted)| {
        let mut fields = Fields(counted);
        let body_bytes = u32::from_be_bytes(fields.array()?).into();
        let expires_at_ms = six_of(fields.array()?);
        let _sealed_by_and_mark: [u8; 2] = fields.array()?;
        let sender = SenderTag::from_bytes(fields.array()?);
        Ok(Counted::new(sender, id.number, body_bytes, expires_at_ms))
    });
    let counted = counted.collect::<Result<_, _>>()?;
    Ok(Removed { ids, counted })
}

/// Of a seat that was given up: whether an outcome waits, and the messages that ended with the record.
pub(super) fn released(answer: &[u8]) -> Result<(bool, Removed), Unreadable> {
    let (owes, removed_packed) = answer.split_first().ok_or(Unreadable)?;
    Ok((*owes == b'1', removed(removed_packed)?))
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
    pub(super) sealed_by: KeyId,
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
                KeyId(fields.byte()?)
            },
        };
        Ok(row)
    }

    /// With its content, as the enqueue script stored it: without a copy of the body.
    pub(super) fn message(self, stored: Vec<u8>) -> Result<PushMessage, Unreadable> {
        let (key, content) = read_stored(&Bytes::from(stored))?;
        Ok(PushMessage {
            id: self.id,
            subscription: self.subscription,
            name: self.name,
            urgency: self.urgency,
            content,
            key: key.map(Box::new),
            sealed_by: self.sealed_by,
            accepted_at_ms: self.id.number.0 / 1_000,
            remaining_ms: self.remaining_ms,
        })
    }
}

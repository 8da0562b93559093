//! What scripts answer, as the outcomes of steps.
//!
//! An answer that can't be read is trouble, never an outcome: a misunderstanding makes no user agent unknown, and accepts
//! nothing (PR-3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use push_protocol::{MessageId, PushMessage, ReceiptOutcome, UserAgentId};
use redis::Value;

use super::counted::Counted;
use super::layout::{
    EndedAnswer, HeldAnswer, IdFields, LeftFields, LimitedAnswer, OutcomeFields, PageHead, PageRow,
    PassedAnswer, StoredAnswer, letter, read_stored,
};
use super::packed::{Nonce, Packed};
use crate::defaults::LONGEST_RETRY_AFTER;
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{
    Ending, MessageEnd, Overdue, Page, ReceiptExpected, Refreshed, Seat, StorageError, Subscribed, Traced,
};

/// The error for an answer that cannot be read.
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

/// How a push message was received.
pub(super) enum Accepted {
    NoSubscription,
    RateLimited(Duration),
    QueueFull,
    Passed(PassedAnswer, Removed),
    Stored(StoredAnswer, Removed),
}

pub(super) fn accepted(answer: &[u8]) -> Result<Accepted, Unreadable> {
    let mut fields = Fields(answer);
    Ok(match fields.byte()? {
        letter::NO_SUBSCRIPTION => Accepted::NoSubscription,
        letter::QUEUE_FULL => Accepted::QueueFull,
        letter::RATE_LIMITED => {
            let LimitedAnswer { secs } = LimitedAnswer::read(&mut fields)?;
            let wait = Duration::try_from_secs_f64(secs)
                .map_or(LONGEST_RETRY_AFTER, |wait| wait.min(LONGEST_RETRY_AFTER));
            Accepted::RateLimited(wait)
        }
        letter::PASSED => Accepted::Passed(PassedAnswer::read(&mut fields)?, removed(fields.0)?),
        letter::STORED => Accepted::Stored(StoredAnswer::read(&mut fields)?, removed(fields.0)?),
        _ => return Err(Unreadable),
    })
}

/// How messages were acknowledged.
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
    let seat = Packed::read(&mut fields)?;
    let (there, gone) = fields.0.split_at_checked(asked).ok_or(Unreadable)?;
    Ok(Acknowledged {
        seat,
        there: there.iter().map(|digit| says(*digit, letter::DONE)).collect(),
        removed: removed(gone)?,
        owes: there.iter().any(|digit| says(*digit, letter::OWING)),
    })
}

/// Whether a digit says this.
pub(super) fn says(digit: u8, what: u8) -> bool {
    digit.wrapping_sub(letter::DIGIT) & what != 0
}

pub(super) fn subscribed(answer: &[u8]) -> Result<Subscribed, Unreadable> {
    let mut fields = Fields(answer);
    Ok(match fields.byte()? {
        letter::CREATED => Subscribed::Created(Packed::read(&mut fields)?),
        letter::FOUND => Subscribed::Kept(Packed::read(&mut fields)?),
        letter::TOO_MANY => Subscribed::TooMany,
        letter::UNKNOWN => Subscribed::UnknownUserAgent,
        _ => return Err(Unreadable),
    })
}

/// What ended.
pub(super) struct Ended {
    pub(super) ending: Ending,
    pub(super) seat: Option<Seat>,
    pub(super) news: u8,
    /// What left the window of the session that has the seat.
    pub(super) removed: Removed,
}

pub(super) fn ended(answer: &[u8]) -> Result<Ended, Unreadable> {
    let mut fields = Fields(answer);
    let EndedAnswer { seat, news, id_bytes } = EndedAnswer::read(&mut fields)?;
    Ok(Ended {
        seat,
        news,
        ending: match id_bytes {
            0 => Ending::All,
            _ => Ending::One(Packed::read(&mut fields)?),
        },
        removed: removed(fields.0)?,
    })
}

pub(super) fn receipt_expected(answer: &[u8]) -> Result<ReceiptExpected, Unreadable> {
    Ok(match answer {
        [letter::EXPECTED] => ReceiptExpected::Recorded,
        [letter::TOO_MANY] => ReceiptExpected::TooMany,
        [letter::NO_SUBSCRIPTION] => ReceiptExpected::NoReceiptSubscription,
        _ => return Err(Unreadable),
    })
}

/// An answer that is one layout.
pub(super) fn whole<L: Packed>(answer: Value) -> Result<L, StorageError> {
    L::read(&mut Fields(&text(answer)?)).map_err(unreadable)
}

/// An outbox, and whether something in it has expired.
pub(super) fn outcomes(
    user_agent: UserAgentId,
    answer: &[u8],
) -> Result<(Vec<MessageEnd>, bool), Unreadable> {
    let mut fields = Fields(answer);
    let has_expired = fields.byte()? != 0;
    let mut ends = Vec::with_capacity(fields.0.len() / OutcomeFields::BYTES);
    while !fields.0.is_empty() {
        ends.push(message_end(user_agent, &mut fields)?);
    }
    Ok((ends, has_expired))
}

pub(super) fn traced(user_agent: UserAgentId, answer: &[u8]) -> Result<Traced, Unreadable> {
    match answer {
        [letter::WAITS] => Ok(Traced::Waiting),
        ended => message_end(user_agent, &mut Fields(ended)).map(Traced::Ended),
    }
}

fn message_end(user_agent: UserAgentId, fields: &mut Fields<'_>) -> Result<MessageEnd, Unreadable> {
    let outcome = OutcomeFields::read(fields)?;
    Ok(MessageEnd {
        receipts: outcome.receipts,
        user_agent,
        id: MessageId {
            number: outcome.number,
            nonce: outcome.nonce.0,
        },
        how: ReceiptOutcome::from_byte(outcome.how).ok_or(Unreadable)?,
    })
}

pub(super) fn overdue(answer: &[u8]) -> Result<Overdue, Unreadable> {
    let mut fields = Fields(answer);
    Ok(Overdue {
        receipts: spelled(&fields.array::<32>()?)?,
        user_agent: Packed::read(&mut fields)?,
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
        letter::UNKNOWN => (Refreshed::Unknown, false),
        letter::DISPLACED => (Refreshed::Displaced, false),
        letter::HELD => {
            let HeldAnswer { last, due } = HeldAnswer::read(&mut fields)?;
            (Refreshed::Held { last }, due)
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

/// Whole ids, and behind all of them what counts of each.
pub(super) fn removed(packed: &[u8]) -> Result<Removed, Unreadable> {
    let messages = packed.len() / (IdFields::BYTES + LeftFields::BYTES);
    let (packed, counts) = packed
        .split_at_checked(IdFields::BYTES * messages)
        .ok_or(Unreadable)?;
    let (ids, mut counts) = (ids(packed)?, Fields(counts));
    let counted = ids.iter().map(|id| {
        let left = LeftFields::read(&mut counts)?;
        let (bytes, expires_at_ms) = (left.body_bytes.into(), left.expires_at_ms.0);
        Ok(Counted::new(left.sender.sender, id.number, bytes, expires_at_ms))
    });
    let counted = counted.collect::<Result<_, _>>()?;
    match counts.0 {
        [] => Ok(Removed { ids, counted }),
        _ => Err(Unreadable),
    }
}

/// Of a seat that was given up: whether an outcome waits, and the messages that ended with the record.
pub(super) fn released(answer: &[u8]) -> Result<(bool, Removed), Unreadable> {
    let (digit, removed_packed) = answer.split_first().ok_or(Unreadable)?;
    Ok((says(*digit, letter::OWING), removed(removed_packed)?))
}

/// Whole ids.
pub(super) fn ids(packed: &[u8]) -> Result<Vec<MessageId>, Unreadable> {
    let mut fields = Fields(packed);
    let mut ids = Vec::with_capacity(packed.len() / IdFields::BYTES);
    while !fields.0.is_empty() {
        let IdFields { number, nonce } = IdFields::read(&mut fields)?;
        ids.push(MessageId {
            number,
            nonce: nonce.0,
        });
    }
    Ok(ids)
}

/// The reverse of [`ids`].
pub(super) fn packed(messages: &[MessageId]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(IdFields::BYTES * messages.len());
    for id in messages {
        let (number, nonce) = (id.number, Nonce(id.nonce));
        IdFields { number, nonce }.put(&mut packed);
    }
    packed
}

/// A page, and whether it passed over something that is due to be dropped.
///
/// A message whose body is not there or can't be read is left out: it must not keep those behind it.
pub(super) fn page(values: Vec<Value>) -> Result<(Page, bool), StorageError> {
    let mut values = values.into_iter();
    let head = text(values.next().ok_or(Unreadable).map_err(unreadable)?)?;
    let mut fields = Fields(&head);
    let PageHead {
        upto,
        more,
        mut garbage,
    } = PageHead::read(&mut fields).map_err(unreadable)?;
    let mut page = Page {
        upto,
        more,
        ..Page::default()
    };
    for value in values {
        let row = PageRow::read(&mut fields).map_err(unreadable)?;
        match row.message(text(value)?) {
            Ok(message) => page.messages.push(Arc::new(message)),
            Err(Unreadable) => garbage = true,
        }
    }
    Ok((page, garbage))
}

impl PageRow {
    /// With its content, as the enqueue script stored it: without a copy of the body.
    pub(super) fn message(self, stored: Vec<u8>) -> Result<PushMessage, Unreadable> {
        let (key, content) = read_stored(&Bytes::from(stored))?;
        Ok(PushMessage {
            id: MessageId {
                number: self.number,
                nonce: self.nonce.0,
            },
            subscription: self.subscription,
            name: self.name,
            urgency: self.urgency,
            content,
            key: key.map(Box::new),
            sealed_by: self.sealed_by,
            accepted_at_ms: self.number.0 / 1_000,
            remaining_ms: self.remaining_ms.0,
        })
    }
}

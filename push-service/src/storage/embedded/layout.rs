//! The layout of embedded storage on disk.
//!
//! One ordered key space. A user agent's record and its messages are neighbours, so that one scan loads all:
//!
//! | key | value |
//! |---|---|
//! | `q`, user agent, 0 | its record |
//! | `q`, user agent, message number | a message: packed header, then the raw body, if it is short |
//! | `b`, user agent, message number | the body of that message, if it is long |
//! | `q`, user agent, message number | after its end, if a receipt was requested: how the message ended, until that is relayed |
//! | `q`, user agent, receipt number | an expected receipt; or a remembered message with TTL 0, and afterwards how it ended |
//! | `s`, milliseconds, user agent | nothing: when this user agent is next to be swept |
//! | `o`, user agent | nothing: it has an outbox |
//! | `d`, milliseconds, receipt subscription, receipt number | the message of an expected receipt, by its deadline |
//! | `w`, sender | how many bytes of this sender wait |
//! | `m`, name | what the store knows of itself |
//!
//! Integers are big-endian. A change here is a new [`FORMAT`].
//!
//! [`values`](super::values) encodes the values in a queue beside its record.

use bytes::Buf;
use push_protocol::{KeyDigest, MessageNumber, SubscriptionId, SubscriptionName};

use super::marks::{self, MARK_BYTES, Mark, Marks};
use crate::storage::Usage;
use crate::storage::queue::{Share, Subscription, UserAgent};
use crate::storage::spelling::Fields;

pub(super) use super::keys::{
    body_key, deadline_key, deadline_key_of, deadline_of, encode_deadline, number_of, outbox_key, outbox_of,
    queue_key, queue_of, sender_key, sender_keys, sender_of, sweep_key, sweep_of,
};
pub(super) use super::values::{
    DecodedMessage, Value, encode_expectation, encode_message, encode_outbox_entry, encode_passing,
    separate_body,
};
pub(super) use crate::storage::spelling::Unreadable;

/// The format that this code writes, and the newest that it reads. Format 1 had no [marks](super::marks) and no separate
/// bodies; format 2 did not count senders. A store in one of these is converted to format 3: its messages have no sender.
pub(super) const FORMAT: u32 = 3;

pub(super) const FORMAT_KEY: &[u8] = b"mformat";
pub(super) const STATE_KEY: &[u8] = b"mstate";
pub(super) const SEALING_KEY_KEY: &[u8] = b"msealing-key";
pub(super) const SEALING_FINGERPRINT_KEY: &[u8] = b"msealing-fingerprint";

const NO_TIME: u64 = u64::MAX;

/// Added to the time until which a record is retained: the record is unused. Times are far below it.
const UNUSED: u64 = 1 << 63;

/// What each batch records about the store: the batch's mark, the store's time, and its gauges as of that batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StoreState {
    pub(super) mark: Mark,
    pub(super) clock_us: u64,
    pub(super) usage: Usage,
}

impl Default for StoreState {
    fn default() -> Self {
        Self {
            mark: Mark::START,
            clock_us: 0,
            usage: Usage::default(),
        }
    }
}

const STATE_BYTES: usize = 4 * 8;

impl StoreState {
    /// The mark comes first, so that it is at the same position in every batch.
    pub(super) fn encode(self, marks: &Marks) -> [u8; MARK_BYTES + STATE_BYTES] {
        let Usage {
            messages,
            bytes,
            user_agents,
        } = self.usage;
        let mut value = [0; MARK_BYTES + STATE_BYTES];
        value[..MARK_BYTES].copy_from_slice(&marks.encode(self.mark));
        let numbers = [self.clock_us, messages, bytes, user_agents].map(u64::to_be_bytes);
        value[MARK_BYTES..].copy_from_slice(numbers.as_flattened());
        value
    }

    /// The reverse of [`encode`](Self::encode). Format 1 had no mark in front.
    pub(super) fn decode(value: &[u8]) -> Result<Self, Unreadable> {
        let (mark, mut numbers) = match value.len() {
            STATE_BYTES => (Mark::START, value),
            _ => {
                let (mark, numbers) = value.split_at_checked(MARK_BYTES).ok_or(Unreadable)?;
                (marks::read(mark).ok_or(Unreadable)?, numbers)
            }
        };
        let mut next = || numbers.try_get_u64().map_err(|_| Unreadable);
        Ok(Self {
            mark,
            clock_us: next()?,
            usage: Usage {
                messages: next()?,
                bytes: next()?,
                user_agents: next()?,
            },
        })
    }
}

/// The record: all of a user agent but its seat, its buckets and its messages.
pub(super) fn encode_record(user_agent: &UserAgent) -> Vec<u8> {
    let mut value = Vec::with_capacity(28 + 65 * user_agent.subscriptions.len());
    value.extend(user_agent.last.0.to_be_bytes());
    let unused = if user_agent.unused { UNUSED } else { 0 };
    let retained_until_ms = user_agent.retained_until_ms.min(UNUSED - 1);
    value.extend((retained_until_ms | unused).to_be_bytes());
    value.extend(user_agent.sweep_at_ms.unwrap_or(NO_TIME).to_be_bytes());
    for subscription in &user_agent.subscriptions {
        value.extend(subscription.id.0);
        value.extend(subscription.name.0);
        value.extend(subscription.created_at_secs.to_be_bytes());
        value.push(u8::from(subscription.key.is_some()));
        value.extend(subscription.key.iter().flat_map(|key| key.0));
    }
    value
}

/// The reverse of [`encode_record`], its messages still to be put in.
pub(super) fn decode_record(value: &[u8]) -> Result<UserAgent, Unreadable> {
    let mut fields = Fields(value);
    let last = MessageNumber(fields.number()?);
    let retained = fields.number()?;
    let mut user_agent = UserAgent {
        last,
        retained_until_ms: retained & !UNUSED,
        unused: retained & UNUSED != 0,
        sweep_at_ms: Some(fields.number()?).filter(|at_ms| *at_ms != NO_TIME),
        recorded: true,
        ..UserAgent::default()
    };
    while !fields.0.is_empty() {
        user_agent.subscriptions.push(Subscription {
            id: SubscriptionId(fields.array()?),
            name: SubscriptionName(fields.array()?),
            created_at_secs: fields.number()?,
            key: match fields.byte()? {
                0 => None,
                _ => Some(Box::new(KeyDigest(fields.array()?))),
            },
            share: Share::default(),
            bucket: None,
        });
    }
    Ok(user_agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-29: a record says whether it is unused. One of an older version does not, and is used.
    #[test]
    fn an_unused_record_says_so() {
        for unused in [true, false] {
            for retained_until_ms in [1_790_000_000_000, u64::MAX] {
                let state = UserAgent {
                    unused,
                    retained_until_ms,
                    ..UserAgent::default()
                };
                let read = decode_record(&encode_record(&state)).unwrap();
                assert_eq!(read.unused, unused);
                assert_eq!(read.retained_until_ms, retained_until_ms.min(u64::MAX >> 1));
            }
        }
        let older = [7_u64, 1_790_000_000_000, NO_TIME].map(u64::to_be_bytes);
        let read = decode_record(older.as_flattened()).unwrap();
        assert!(!read.unused);
        assert_eq!(read.retained_until_ms, 1_790_000_000_000);
    }

    /// A record cut short or changed is refused or read as something else, and never a panic.
    #[test]
    fn a_garbled_record_never_panics() {
        let subscription = Subscription {
            id: SubscriptionId([9; 8]),
            name: SubscriptionName([7; 16]),
            created_at_secs: 5,
            key: Some(Box::new(KeyDigest([4; 32]))),
            share: Share::default(),
            bucket: None,
        };
        let state = UserAgent {
            subscriptions: vec![subscription],
            ..UserAgent::default()
        };
        let value = encode_record(&state);
        let read = decode_record(&value).unwrap();
        assert_eq!(read.subscriptions[0].key, state.subscriptions[0].key);
        for end in 25..value.len() {
            assert!(decode_record(&value[..end]).is_err(), "{end}");
        }
        for position in 0..value.len() {
            let mut garbled = value.clone();
            garbled[position] ^= 0x81;
            let _ = decode_record(&garbled);
        }
    }
}

//! How the store spells itself in Redis: keys, the arguments of scripts, and what a record says.
//!
//! All keys of a user agent carry the hash tag of one of 1,024 buckets, so that a step's keys and the channel on which it
//! announces are in one hash slot (PR-13). `P` is `storage.redis.prefix`, `B` the bucket in hexadecimal:
//!
//! | key | type | content |
//! |---|---|---|
//! | `P:{B}` | string | the mark: this bucket belongs to a store of that format |
//! | `P:{B}:r:ID` | hash | the record: `m` itself, `n`+name and `s`+id of each subscription |
//! | `P:{B}:i:ID` | sorted set | the index of what waits, by urgency and number |
//! | `P:{B}:q:ID` | hash | number → key, content header and body; `t`+subscription+topic → number; `e`: what the index would say of a sole message |
//! | `P:{B}:v:ID`, `P:{B}:x:ID` | sorted sets | the eviction order of a long queue that was full; shares and expiries
//! |
//! | `P:{B}:o:ID` | hash | the outbox: nonce → what became of a message that a receipt was asked for |
//! | `P:{B}:d:ID` | sorted set | the same nonces, by when there is something to carry |
//! | `P:{B}:e:ID` | hash | of a receipt subscription: user agent+nonce → what the URL of a receipt is made of |
//! | `P:{B}:owing` | sorted set | user agents with an outbox, by when there is something to carry |
//! | `P:{B}:expected` | sorted set | receipt subscription+user agent+nonce, by when to ask after it |
//! | `P:{B}:sent:SENDER`, `P:{000}:sent:all` | hash | how many bytes wait of a sender and of all, in parts by when they expire |
//! | `P:{B}:wake:N` | channel | what the node of incarnation `N` is told |
//!
//! Values are small and packed, so that Redis keeps a record and a short index in its compact encodings. A change here or
//! in a script is a new [`super::scripts::FORMAT`].

use std::fmt::Write as _;
use std::ops::Range;

use bytes::Bytes;
use push_protocol::{Content, KeyDigest, SubscriptionId, UserAgentId};

use super::links::Bucket;
use crate::defaults::RETENTION_GRAINS;
use crate::storage::spelling::{Fields, Unreadable, put_content_header};
use crate::storage::{
    Budget, Enqueue, PageRequest, Rate, Scope, Seat, SubscriptionReport, UserAgentReport, bucket,
};

/// Where scores of the index begin to count, in microseconds since 1970: 2020. A number is above it.
pub(super) const EPOCH: u64 = 1_577_836_800_000_000;

/// How far apart urgencies are in scores. Of the 53 bits of a score two are the urgency, and 51 last until 2091.
pub(super) const LANE: u64 = 1 << 51;

/// The keys of a user agent, in the order in which scripts take them: the queue's, then those of receipts.
pub(super) struct Keys<const N: usize> {
    text: String,
    ranges: [Range<usize>; N],
}

impl Keys<4> {
    /// Those of the queue: all that a message without a receipt needs.
    pub(super) fn of(prefix: &str, user_agent: UserAgentId) -> Self {
        let mut text = String::with_capacity(4 * (prefix.len() + 8 + 34));
        let bucket = bucket_of(user_agent);
        let mut key = |kind: &str| {
            let start = text.len();
            put_mark(&mut text, prefix, bucket);
            if !kind.is_empty() {
                let _ = write!(text, ":{kind}:{user_agent}");
            }
            start..text.len()
        };
        let ranges = [key(""), key("r"), key("i"), key("q")];
        Self { text, ranges }
    }

    /// With those of receipts.
    pub(super) fn and_receipts(self, prefix: &str, user_agent: UserAgentId) -> Keys<9> {
        let Self { mut text, ranges } = self;
        let bucket = bucket_of(user_agent);
        let mut key = |kind: &str, is_own: bool| {
            let start = text.len();
            put_mark(&mut text, prefix, bucket);
            let _ = write!(text, ":{kind}");
            if is_own {
                let _ = write!(text, ":{user_agent}");
            }
            start..text.len()
        };
        let [mark, record, index, bodies] = ranges;
        let [outbox, dues, owing] = [key("o", true), key("d", true), key(OWING, false)];
        let [expected, deadlines] = [key("e", true), key(EXPECTED, false)];
        let ranges = [
            mark, record, index, bodies, outbox, dues, owing, expected, deadlines,
        ];
        Keys { text, ranges }
    }
}

impl<const N: usize> Keys<N> {
    pub(super) fn all(&self) -> [&[u8]; N] {
        self.ranges.clone().map(|range| &self.text.as_bytes()[range])
    }
}

/// The bucket of a user agent.
pub(super) fn bucket_of(user_agent: UserAgentId) -> Bucket {
    Bucket::new(bucket(user_agent))
}

/// The mark of a bucket.
pub(super) fn mark(prefix: &str, bucket: Bucket) -> String {
    let mut text = String::with_capacity(prefix.len() + 6);
    put_mark(&mut text, prefix, bucket);
    text
}

fn put_mark(text: &mut String, prefix: &str, bucket: Bucket) {
    text.push_str(prefix);
    text.push_str(":{");
    text.extend(bucket.tag().map(char::from));
    text.push('}');
}

/// Of a bucket: whose outbox has something to carry, and when.
pub(super) const OWING: &str = "owing";

/// Of a bucket: which receipts are expected, and when to ask after them.
pub(super) const EXPECTED: &str = "expected";

/// A key of a bucket.
pub(super) fn of_bucket(prefix: &str, bucket: Bucket, name: &str) -> String {
    format!("{}:{name}", mark(prefix, bucket))
}

/// The keys that have to move to another server together: these, and the orders of a long queue, whose names scripts
/// derive from the record's name.
pub(super) fn moving_along(keys: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    let text = keys.get(1).and_then(|record| std::str::from_utf8(record).ok());
    if let Some((mark, user_agent)) = text.and_then(|record| record.rsplit_once(":r:")) {
        all.extend(["v", "x"].map(|kind| format!("{mark}:{kind}:{user_agent}").into_bytes()));
    }
    all
}

/// Where a node of this incarnation is told what concerns a bucket's user agents.
pub(super) fn channel(prefix: &str, bucket: Bucket, incarnation: u64) -> String {
    format!("{}:wake:{incarnation:016x}", mark(prefix, bucket))
}

/// Where what the store knows of itself stands.
pub(super) fn own_bucket() -> Bucket {
    Bucket::new(0)
}

/// A key of what the store knows of itself.
pub(super) fn own(prefix: &str, name: &str) -> String {
    of_bucket(prefix, own_bucket(), name)
}

/// 16 bytes: incarnation and session. Nobody's are zeros, which no random seat is.
pub(super) fn seat(seat: Seat) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seat.incarnation.to_be_bytes());
    bytes[8..].copy_from_slice(&seat.session.to_be_bytes());
    bytes
}

/// The reverse of [`seat`].
pub(super) fn seat_of(bytes: [u8; 16]) -> Option<Seat> {
    let bits = u128::from_be_bytes(bytes);
    (bits != 0).then_some(Seat {
        incarnation: (bits >> 64) as u64,
        session: bits as u64,
    })
}

/// Six bytes of milliseconds, which last for another 8,900 years.
pub(super) fn six(number: u64) -> [u8; 6] {
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&number.min((1 << 48) - 1).to_be_bytes()[2..]);
    bytes
}

/// Stands before the sender in an entry of the index, and behind the numbers of the enqueue script.
pub(super) const WITH_SENDER: u8 = 1;

/// The numbers that the enqueue script takes.
pub(super) fn enqueue_numbers(enqueue: &Enqueue, inline_bytes: u32, retention_ms: u64) -> Vec<u8> {
    let Budget { messages, bytes } = enqueue.budget;
    let Rate { per_second, burst } = enqueue.rate.unwrap_or(Rate {
        per_second: 0.0,
        burst: 0.0,
    });
    let body_bytes = u32::try_from(enqueue.content.body.len()).unwrap_or(u32::MAX);
    let mut packed = Vec::with_capacity(61);
    packed.extend(enqueue.ttl.as_secs().to_be_bytes());
    packed.push(enqueue.urgency as u8);
    packed.push(enqueue.sealed_by.0);
    packed.extend(body_bytes.to_be_bytes());
    packed.extend(messages.to_be_bytes());
    // Scripts count in doubles, which are exact up to 2^53.
    packed.extend(bytes.min(1 << 53).to_be_bytes());
    packed.extend(per_second.to_be_bytes());
    packed.extend(burst.to_be_bytes());
    packed.extend(inline_bytes.to_be_bytes());
    packed.extend(six(retention_ms));
    packed.extend((RETENTION_GRAINS as u32).to_be_bytes());
    if let Some(sender) = enqueue.sender {
        packed.push(WITH_SENDER);
        packed.extend(sender.to_bytes());
    }
    packed
}

/// In front of a content header: the key that the message's subscription is restricted to follows first. Content headers
/// begin with a smaller byte.
const WITH_KEY: u8 = 0x80;

/// What is stored of a message beside its index: the key if there is one, how its body is encrypted, the body.
pub(super) fn stored(key: Option<&KeyDigest>, content: &Content) -> Vec<u8> {
    let mut value = Vec::with_capacity(content.body.len() + 16 + key.map_or(0, |_| 33));
    if let Some(key) = key {
        value.push(WITH_KEY);
        value.extend(key.0);
    }
    put_content_header(&mut value, content);
    value.extend_from_slice(&content.body);
    value
}

/// The reverse of [`stored`], without a copy of the body.
pub(super) fn read_stored(stored: &Bytes) -> Result<(Option<KeyDigest>, Content), Unreadable> {
    let mut fields = Fields(stored);
    let key = match fields.0.split_first() {
        Some((&WITH_KEY, rest)) => {
            fields = Fields(rest);
            Some(KeyDigest(fields.array()?))
        }
        _ => None,
    };
    let header = fields.content_header()?;
    Ok((key, header.with(stored.slice_ref(fields.0))))
}

/// What a page is to hold, and its scope. At most `most` messages: nobody's page takes Redis for long (PR-31).
pub(super) fn page_wanted(request: &PageRequest, most: usize) -> (Vec<u8>, Vec<u8>) {
    let mut wanted = Vec::with_capacity(22);
    wanted.extend(request.after.0.min(1 << 53).to_be_bytes());
    wanted.push(request.minimum as u8);
    wanted.extend((request.messages.min(most) as u32).to_be_bytes());
    wanted.extend((request.bytes as u64).min(1 << 53).to_be_bytes());
    let (only, these): (u8, &[SubscriptionId]) = match &request.scope {
        Scope::AllBut(these) => (0, these),
        Scope::These(these) => (1, these),
    };
    wanted.push(only);
    (wanted, these.iter().flat_map(|id| id.0).collect())
}

/// What a record says of itself: the field `m`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Meta {
    pub(super) format: u8,
    pub(super) last: u64,
    pub(super) seat: Option<Seat>,
    pub(super) retained_until_ms: u64,
    pub(super) messages: u32,
    pub(super) bytes: u64,
    /// Not later than the earliest expiry of what waits; 0: nothing waits.
    pub(super) earliest_ms: u64,
    /// Whether the record is unused ([`Retention`](crate::storage::Retention)).
    pub(super) unused: bool,
}

/// Where the last byte of a record stands, if it has one (`parts/record.lua`).
const FLAG_AT: usize = 58;
/// What stands there if the record is unused.
const UNUSED: u8 = 2;

impl Meta {
    pub(super) fn read(value: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = Fields(value);
        Ok(Self {
            format: fields.byte()?,
            last: fields.number()?,
            seat: seat_of(fields.array()?),
            retained_until_ms: six_of(fields.array()?),
            messages: u32::from_be_bytes(fields.array()?),
            bytes: six_of(fields.array()?),
            earliest_ms: six_of(fields.array()?),
            unused: value.get(FLAG_AT) == Some(&UNUSED),
        })
    }
}

/// The reverse of [`six`].
pub(super) fn six_of(bytes: [u8; 6]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A subscription, from its two fields.
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) name: [u8; 16],
    pub(super) created_at_secs: u32,
    pub(super) key: Option<[u8; 32]>,
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

/// A whole record.
pub(super) struct Record {
    pub(super) meta: Meta,
    pub(super) subscriptions: Vec<Subscription>,
}

impl Record {
    /// From what the report script answers.
    pub(super) fn read(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Self, Unreadable> {
        let value = |field: &[u8]| {
            pairs
                .iter()
                .find(|(f, _)| f == field)
                .map(|(_, value)| &value[..])
        };
        let meta = Meta::read(value(b"m").ok_or(Unreadable)?)?;
        let mut subscriptions = Vec::with_capacity(pairs.len() / 2);
        for (field, named) in pairs.iter().filter(|(field, _)| field.first() == Some(&b'n')) {
            let mut fields = Fields(named);
            let id: [u8; 8] = fields.array()?;
            let created_at_secs = u32::from_be_bytes(fields.array()?);
            let key = if fields.0.is_empty() {
                None
            } else {
                Some(fields.array()?)
            };
            let share = value(&[b"w", &id[..]].concat()).unwrap_or(&[0; 10]);
            let mut fields = Fields(share);
            subscriptions.push(Subscription {
                id: SubscriptionId(id),
                name: field[1..].try_into().map_err(|_| Unreadable)?,
                created_at_secs,
                key,
                messages: u32::from_be_bytes(fields.array()?),
                bytes: six_of(fields.array()?),
            });
        }
        subscriptions.sort_by_key(|subscription| subscription.id);
        Ok(Self { meta, subscriptions })
    }

    pub(super) fn report(&self, now_ms: u64) -> UserAgentReport {
        let subscription = |s: &Subscription| SubscriptionReport {
            id: s.id.to_string(),
            name: push_protocol::SubscriptionName(s.name).to_string(),
            restricted: s.key.is_some(),
            messages: s.messages,
            bytes: s.bytes,
            created_at: s.created_at_secs.into(),
        };
        UserAgentReport {
            messages: self.subscriptions.iter().map(|s| s.messages).sum(),
            bytes: self.subscriptions.iter().map(|s| s.bytes).sum(),
            last_number: self.meta.last,
            seated: self.meta.seat.is_some(),
            unused: self.meta.unused,
            retained_for_secs: self.meta.retained_until_ms.saturating_sub(now_ms) / 1_000,
            subscriptions: self.subscriptions.iter().map(subscription).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-13: the keys of a user agent and the channel of its wake-ups carry one hash tag.
    #[test]
    fn all_keys_carry_the_tag_of_the_bucket() {
        let user_agent = UserAgentId([0xab; 16]);
        let keys = Keys::of("push", user_agent);
        let id = "ab".repeat(16);
        let [mark_key, record, index, bodies] =
            keys.all().map(|key| String::from_utf8_lossy(key).into_owned());
        assert_eq!(mark_key, "push:{2ae}");
        assert_eq!(mark_key, mark("push", bucket_of(user_agent)));
        assert_eq!(record, format!("push:{{2ae}}:r:{id}"));
        assert_eq!(index, format!("push:{{2ae}}:i:{id}"));
        assert_eq!(bodies, format!("push:{{2ae}}:q:{id}"));
        let whole = Keys::of("push", user_agent).and_receipts("push", user_agent);
        let [mark_again, .., dues, owing, expected, deadlines] =
            whole.all().map(|key| String::from_utf8_lossy(key).into_owned());
        assert_eq!(mark_again, mark_key);
        assert_eq!(
            (dues, owing),
            (format!("push:{{2ae}}:d:{id}"), "push:{2ae}:owing".to_owned())
        );
        assert_eq!(
            (expected, deadlines),
            (format!("push:{{2ae}}:e:{id}"), "push:{2ae}:expected".to_owned())
        );
        assert_eq!(
            channel("push", bucket_of(user_agent), 0x1f),
            "push:{2ae}:wake:000000000000001f"
        );
    }

    /// Seats and short numbers are read as they were written.
    #[test]
    fn seats_and_numbers_survive_their_spelling() {
        let holder = Seat {
            incarnation: 1 << 63 | 7,
            session: 9,
        };
        assert_eq!(seat_of(seat(holder)), Some(holder));
        assert_eq!(seat_of([0; 16]), None);
        assert_eq!(six_of(six(1_790_000_000_000)), 1_790_000_000_000);
    }

    /// A record that was cut off anywhere is refused, never a panic.
    #[test]
    fn a_record_cut_short_is_unreadable() {
        let meta = [1; 58];
        assert!(Meta::read(&meta).is_ok());
        for end in 0..47 {
            assert!(Meta::read(&meta[..end]).is_err(), "{end}");
        }
    }
}

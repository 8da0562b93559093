//! The layout of the store in Redis: of keys, of arguments and answers of scripts, and of wake-ups.
//!
//! Each layout is defined once, here. A script says `layout.NAME` where it needs one: [`in_scripts`](super::layout_names::in_scripts) has the text that takes its
//! place. [`record`](super::record) reads whole records. Values are small and packed, so that Redis keeps a record and a short index in its compact encodings. A change to
//! what stands in a key is a new [`FORMAT`].

use bytes::Bytes;
use push_protocol::capability::KeyId;
use push_protocol::{
    Content, KeyDigest, MessageNumber, SubscriptionId, SubscriptionName, Urgency, UserAgentId,
};

use super::packed::{Nonce, Packed, U48, layouts};
use crate::defaults::RETENTION_GRAINS;
use crate::storage::spelling::{Fields, Unreadable, put_content_header};
use crate::storage::{Enqueue, PageRequest, QueueLimits, Rate, Scope, Seat, SenderTag};

/// The format that the scripts write, and the newest that they read (PR-35).
pub(super) const FORMAT: u8 = 1;

/// Where scores of the index begin to count, in microseconds since 1970: 2020. A number is above it.
pub(super) const EPOCH: u64 = 1_577_836_800_000_000;

/// How far apart urgencies are in scores. Of the 53 bits of a score two are the urgency, and 51 last until 2091.
pub(super) const LANE: u64 = 1 << 51;

/// The field of a record that a subscription has by its id. A record has two fields for each subscription.
pub(super) fn field_of_id(id: SubscriptionId) -> Vec<u8> {
    [&b"s"[..], &id.0].concat()
}

/// The field of a record that a subscription has by its name.
pub(super) fn field_of_name(name: SubscriptionName) -> Vec<u8> {
    [&b"n"[..], &name.0].concat()
}

// What stands in keys.

layouts! {
    /// What a record says of itself: the field `m`. One byte may follow, [`ORDERED`] or [`UNUSED`].
    struct MetaFields {
        format: u8,
        last: u64,
        seat: Option<Seat>,
        retained_until_ms: U48,
        messages: u32,
        bytes: U48,
        earliest_ms: U48,
        kept_until_ms: U48,
        attached_since_secs: u32,
        attaches: u8,
    }

    /// What a record says of a subscription under its [`field_of_id`]. The rest is its rate bucket.
    struct SubscriptionFields {
        name: SubscriptionName,
        tokens: f64,
        looked_at_us: u64,
    }

    /// What a record says of a subscription under its [`field_of_name`]. The application server's key may follow.
    struct NamedFields {
        id: SubscriptionId,
        created_at_secs: u32,
    }

    /// An entry of the index. Behind it stand the topic; [`WITH_SENDER`] and the sender, if it is counted; and a zero if a
    /// receipt was asked for.
    struct EntryFields {
        nonce: Nonce,
        subscription: SubscriptionId,
        body_bytes: u32,
        expires_at_ms: U48,
        sealed_by: KeyId,
    }

    /// What stands behind the topic if the sender is counted.
    struct SenderFields {
        mark: u8,
        sender: Option<SenderTag>,
    }

    /// What stands before the entry of a sole message, which is not in the index. The entry has no topic.
    struct SoleFields {
        urgency: Urgency,
        number: MessageNumber,
        nonce: Nonce,
    }

    /// An entry of the outbox.
    struct OwedFields {
        number: MessageNumber,
        receipts: UserAgentId,
        subscription: SubscriptionId,
        how: u8,
        expires_at_ms: U48,
    }

    /// A member of the eviction order, behind the subscription's id.
    struct VictimFields {
        urgency: Urgency,
        number: MessageNumber,
    }

    /// A member of the order of expiries, behind the letter `n`.
    struct MomentFields {
        number: MessageNumber,
        urgency: Urgency,
    }

    /// The name of a body in its hash.
    struct NumberField {
        number: MessageNumber,
    }
}

/// Behind [`MetaFields`]: the queue has orders (`parts/order.lua`).
pub(super) const ORDERED: u8 = 1;

/// Behind [`MetaFields`]: the record is unused ([`Retention`](crate::storage::Retention)).
pub(super) const UNUSED: u8 = 2;

/// Stands before the sender in an entry of the index, and behind the numbers of the enqueue script.
pub(super) const WITH_SENDER: u8 = 1;

/// The value of `how` in an entry of the outbox whose message has not ended. [`ReceiptOutcome`](push_protocol::ReceiptOutcome) has the others.
pub(super) const WAITING: u8 = 0;

/// In front of a content header: the key that the message's subscription is restricted to follows first. Content headers
/// begin with a smaller byte.
const WITH_KEY: u8 = 0x80;

// What scripts take.

layouts! {
    /// How long a record is retained, and by which part of that its expiry moves at most.
    struct RetentionNumbers {
        for_ms: U48,
        grains: u32,
    }

    /// The same, and how long an empty record is kept.
    struct Renewed {
        retention: RetentionNumbers,
        empty_ms: U48,
    }

    struct SubscribeNumbers {
        most: u32,
        retention_ms: U48,
        unused_ms: U48,
        grains: u32,
        only_known: bool,
    }

    /// The retention follows, and [`SenderFields`] if the sender is counted.
    struct EnqueueNumbers {
        ttl_secs: u32,
        urgency: Urgency,
        sealed_by: KeyId,
        body_bytes: u32,
        most_messages: u32,
        most_bytes: u64,
        /// Tokens; 0: no rate.
        per_second: f64,
        burst: f64,
        inline_bytes: u32,
    }

    struct AttachNumbers {
        renewed: Renewed,
        attaches_per_minute: u8,
        insists: bool,
    }

    /// What a page is to hold. `only`: the scope is all that is wanted, and not all that is not.
    struct Wanted {
        after: u64,
        minimum: Urgency,
        messages: u32,
        bytes: u64,
        only: bool,
    }

    struct ExpectNumbers {
        within_ms: U48,
        limit: u32,
        retention: RetentionNumbers,
    }

    /// What the URL of a receipt is made of.
    struct ReceiptUrl {
        dialect: push_protocol::capability::Dialect,
        sealed_by: KeyId,
    }

    struct SettleNumbers {
        /// Whether the script tells the seat, if it is another node's.
        tells: bool,
        retention: RetentionNumbers,
    }

    /// How a message ended, for the receipt subscription.
    struct SettledFields {
        user_agent: UserAgentId,
        number: [u8; 8],
        nonce: Nonce,
        how: u8,
    }

    /// How many subscriptions, messages and outcomes follow; the rest are expected receipts.
    struct ImportNumbers {
        last: MessageNumber,
        retained_until_ms: U48,
        subscriptions: u32,
        messages: u32,
        outcomes: u32,
        unused: bool,
    }

    /// The application server's key may follow.
    struct ImportSubscription {
        id: SubscriptionId,
        name: SubscriptionName,
        created_at_secs: u32,
    }

    /// The topic follows, and what is stored of the message.
    struct ImportMessage {
        number: MessageNumber,
        nonce: Nonce,
        subscription: SubscriptionId,
        urgency: Urgency,
        expires_at_ms: U48,
        sealed_by: u8,
        body_bytes: u32,
        asks_receipt: bool,
        receipts: UserAgentId,
        sender: Option<SenderTag>,
        topic_bytes: u8,
    }

    struct ImportExpectation {
        user_agent: UserAgentId,
        nonce: Nonce,
        url: ReceiptUrl,
        deadline_ms: U48,
    }
}

// What scripts answer.

/// Letters that stand for an answer, or before it.
pub(super) mod letter {
    /// The step has to be run again with the outbox: it has changed nothing.
    pub(crate) const AGAIN: u8 = b'O';
    /// Enqueue, expect: there is no such subscription.
    pub(crate) const NO_SUBSCRIPTION: u8 = b'N';
    /// Enqueue: over the rate. Before [`LimitedAnswer`](super::LimitedAnswer).
    pub(crate) const RATE_LIMITED: u8 = b'L';
    /// Enqueue: the queue is full.
    pub(crate) const QUEUE_FULL: u8 = b'F';
    /// Enqueue: passed on. Before [`PassedAnswer`](super::PassedAnswer).
    pub(crate) const PASSED: u8 = b'P';
    /// Enqueue: stored. Before [`StoredAnswer`](super::StoredAnswer).
    pub(crate) const STORED: u8 = b'S';
    /// Subscribe: made. Before the id.
    pub(crate) const CREATED: u8 = b'C';
    /// Subscribe: it was there. Before the id.
    pub(crate) const FOUND: u8 = b'K';
    /// Subscribe, expect: there are as many as there may be.
    pub(crate) const TOO_MANY: u8 = b'M';
    /// Subscribe, refresh: there is no such user agent.
    pub(crate) const UNKNOWN: u8 = b'U';
    /// Expect: written down.
    pub(crate) const EXPECTED: u8 = b'E';
    /// Refresh: another session has the seat.
    pub(crate) const DISPLACED: u8 = b'D';
    /// Refresh: the session has the seat. Before [`HeldAnswer`](super::HeldAnswer).
    pub(crate) const HELD: u8 = b'H';
    /// Trace: the message waits.
    pub(crate) const WAITS: u8 = b'W';
    /// Report: before a subscription's id, as the name of its [`Share`](super::Share).
    pub(crate) const SHARE: u8 = b'w';

    /// Acknowledge, import: one digit for each message, a sum of these two.
    pub(crate) const DIGIT: u8 = b'0';
    /// The message was there and in time, or was added.
    pub(crate) const DONE: u8 = 1;
    /// An outcome waits in the outbox.
    pub(crate) const OWING: u8 = 2;
}

/// The bits of a byte that says what a script noticed beside its step.
pub(super) mod news {
    /// Something of the user agent's is due to be dropped.
    pub(crate) const DUE: u8 = 1;
    /// An outcome waits in the outbox.
    pub(crate) const OWES: u8 = 2;
}

layouts! {
    struct LimitedAnswer {
        secs: f64,
    }

    /// [`LeftFields`] follow, of what the message replaced.
    struct PassedAnswer {
        seat: Option<Seat>,
        name: SubscriptionName,
        news: u8,
    }

    /// [`LeftFields`] follow, of what the message replaced and evicted.
    struct StoredAnswer {
        number: MessageNumber,
        previous: MessageNumber,
        seat: Option<Seat>,
        name: SubscriptionName,
        replaced: bool,
        evicted: u32,
        expired: u32,
        news: u8,
        accepted_at_ms: U48,
    }

    /// The id of a message that left a queue. Behind all ids stand [`LeftFields`].
    struct IdFields {
        number: MessageNumber,
        nonce: Nonce,
    }

    /// The LEFT fields of a message that left a queue, by which the node subtracts it from the sums of senders: the end of its entry,
    /// without the topic. Without a sender the last nine bytes are zeros.
    struct LeftFields {
        body_bytes: u32,
        expires_at_ms: U48,
        sealed_by: KeyId,
        sender: SenderFields,
    }

    /// The id of the subscription that ended follows, if it is one, and [`LeftFields`].
    struct EndedAnswer {
        seat: Option<Seat>,
        news: u8,
        id_bytes: u8,
    }

    struct SettledAnswer {
        seat: Option<Seat>,
        joined: u32,
    }

    /// How a message ended, as the user agent's side knows it.
    struct OutcomeFields {
        receipts: UserAgentId,
        number: MessageNumber,
        nonce: Nonce,
        how: u8,
    }

    struct HeldAnswer {
        last: MessageNumber,
        due: bool,
    }

    /// The rows follow.
    struct PageHead {
        upto: MessageNumber,
        more: bool,
        garbage: bool,
    }

    struct PageRow {
        number: MessageNumber,
        nonce: Nonce,
        subscription: SubscriptionId,
        name: SubscriptionName,
        urgency: Urgency,
        remaining_ms: U48,
        body_bytes: u32,
        sealed_by: KeyId,
    }

    /// What waits of a subscription.
    struct Share {
        messages: u32,
        bytes: U48,
    }
}

// What nodes tell each other.

/// The version of the wake-ups that this node writes and reads: their first byte.
pub(super) const WAKE_UP_VERSION: u8 = 1;

/// The second byte of a wake-up. The user agent in hexadecimal and the session follow.
pub(super) mod wake_up {
    /// A message was stored: [`WakeUpStored`](super::WakeUpStored), and what is stored of it.
    pub(crate) const STORED: u8 = b'S';
    /// A message is passed on: [`WakeUpPassing`](super::WakeUpPassing), and what would be stored of it.
    pub(crate) const PASSING: u8 = b'P';
    /// Messages left the window: their ids.
    pub(crate) const REMOVED: u8 = b'R';
    /// Another session has the seat.
    pub(crate) const DISPLACED: u8 = b'D';
    /// A subscription ended: its id; or all of them.
    pub(crate) const ENDED: u8 = b'E';
    /// There is something to read.
    pub(crate) const READ_AGAIN: u8 = b'A';
}

layouts! {
    struct WakeUpStored {
        number: MessageNumber,
        previous: MessageNumber,
        nonce: Nonce,
        subscription: SubscriptionId,
        name: SubscriptionName,
        urgency: Urgency,
        remaining_ms: U48,
        sealed_by: KeyId,
    }

    struct WakeUpPassing {
        nonce: Nonce,
        subscription: SubscriptionId,
        name: SubscriptionName,
        urgency: Urgency,
        sealed_by: KeyId,
        number: u8,
    }
}

impl RetentionNumbers {
    pub(super) fn new(for_ms: u64) -> Self {
        Self {
            for_ms: U48(for_ms),
            grains: RETENTION_GRAINS as u32,
        }
    }
}

/// The seat, or nothing.
pub(super) fn seat(seat: Option<Seat>) -> Vec<u8> {
    seat.map_or_else(Vec::new, |seat| Some(seat).packed())
}

/// The numbers that the enqueue script takes.
pub(super) fn enqueue_numbers(enqueue: &Enqueue, inline_bytes: u32, retention_ms: u64) -> Vec<u8> {
    let QueueLimits { messages, bytes } = enqueue.queue_limits;
    let Rate { per_second, burst } = enqueue.rate.unwrap_or(Rate {
        per_second: 0.0,
        burst: 0.0,
    });
    let numbers = EnqueueNumbers {
        ttl_secs: enqueue.ttl.as_secs(),
        urgency: enqueue.urgency,
        sealed_by: enqueue.sealed_by,
        body_bytes: u32::try_from(enqueue.content.body.len()).unwrap_or(u32::MAX),
        most_messages: messages,
        // Scripts count in doubles, which are exact up to 2^53.
        most_bytes: bytes.min(1 << 53),
        per_second,
        burst,
        inline_bytes,
    };
    let mut packed =
        Vec::with_capacity(EnqueueNumbers::BYTES + RetentionNumbers::BYTES + SenderFields::BYTES);
    numbers.put(&mut packed);
    RetentionNumbers::new(retention_ms).put(&mut packed);
    if enqueue.sender.is_some() {
        let sender = SenderFields {
            mark: WITH_SENDER,
            sender: enqueue.sender,
        };
        sender.put(&mut packed);
    }
    packed
}

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

/// The score in the index of a message with this urgency and number; `None` for a number that no stored message has.
pub(super) fn place(urgency: Urgency, number: MessageNumber) -> Option<String> {
    let above = number.0.checked_sub(EPOCH).filter(|above| *above < LANE)?;
    Some((urgency as u64 * LANE + above).to_string())
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

/// What a page is to hold, and its scope. At most `most` messages, so that no page takes Redis for long (PR-31).
pub(super) fn page_wanted(request: &PageRequest, most: usize) -> (Vec<u8>, Vec<u8>) {
    let (only, these): (bool, &[SubscriptionId]) = match &request.scope {
        Scope::AllBut(these) => (false, these),
        Scope::These(these) => (true, these),
    };
    let wanted = Wanted {
        after: request.after.0.min(1 << 53),
        minimum: request.minimum,
        messages: request.messages.min(most) as u32,
        bytes: (request.bytes as u64).min(1 << 53),
        only,
    };
    (wanted.packed(), these.iter().flat_map(|id| id.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-35: what stands in keys keeps its layout as long as [`FORMAT`] is the same: other nodes read it.
    #[test]
    fn a_layout_changes_with_the_format_only() {
        assert_eq!(FORMAT, 1);
        let layouts = [
            (MetaFields::format(), ">BI8c16I6I4I6I6I6I4B"),
            (SubscriptionFields::format(), ">c16dI8"),
            (NamedFields::format(), ">c8I4"),
            (EntryFields::format(), ">c8c8I4I6B"),
            (SoleFields::format(), ">BI8c8"),
            (OwedFields::format(), ">I8c16c8BI6"),
            (WakeUpStored::format(), ">I8I8c8c8c16BI6B"),
            (WakeUpPassing::format(), ">c8c8c16BBB"),
        ];
        for (format, expected) in layouts {
            assert_eq!(format, expected);
        }
        // The end of an entry is what counts of it.
        let counted = [
            EntryFields::position("body_bytes"),
            EntryFields::BYTES + SenderFields::BYTES,
        ];
        assert_eq!(counted[1] + 1 - counted[0], LeftFields::BYTES);
    }
}

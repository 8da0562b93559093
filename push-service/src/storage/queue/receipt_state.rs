//! The receipt state of a user agent (PR-25).
//!
//! On the side of the messages: for which waiting messages a receipt was requested, and, in the *outbox*, how such messages
//! ended, until that was relayed. On the side of a receipt subscription: which receipts are expected. All of it stands
//! beside the queue, so a message without a receipt costs nothing.
//!
//! What belongs to no stored message is kept under a *receipt number*: a number above those of all messages. So storages
//! can keep it among the messages.
//!
//! It deliberately does not know how a step becomes durable: it is changed by the steps of `receipts.rs` and `remove.rs`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, UserAgentId};

use super::Now;
use crate::defaults::PASSING_RECEIPTS;
use crate::storage::{MessageEnd, Overdue, PASSING_WITH_RECEIPT};

/// Above the numbers of all messages, which are microseconds since 1970.
pub(in crate::storage) const FIRST_RECEIPT_NUMBER: MessageNumber = MessageNumber(1 << 63);

/// The receipt state of one user agent. Owns no memory while it is empty.
#[derive(Default, Debug)]
pub(in crate::storage) struct ReceiptState(Option<Box<Tables>>);

#[derive(Default, Debug)]
struct Tables {
    /// Messages for which a receipt was requested: those that wait, and those whose subscription ended and that are not
    /// freed yet.
    requested: BTreeMap<MessageNumber, Requested>,
    /// How messages ended, by the number of the message or by a receipt number.
    outbox: BTreeMap<MessageNumber, OutboxEntry>,
    /// Whether storages list this user agent among those that have an outbox.
    listed: bool,
    passing: Vec<PassingMessage>,
    /// The receipts that this receipt subscription expects, by the user agent and the nonce of their messages.
    expected: HashMap<(UserAgentId, u64), Expectation>,
    /// The receipts that it expected when it ended, to be freed. The first that were expected stand last.
    orphaned: Vec<Expectation>,
    last_receipt_number: MessageNumber,
}

/// The receipt subscription of a message, and the random half of the message's id.
#[derive(Clone, Copy, Debug)]
struct Requested {
    nonce: u64,
    receipts: UserAgentId,
}

/// How a message of this user agent ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct OutboxEntry {
    pub(in crate::storage) id: MessageId,
    pub(in crate::storage) receipts: UserAgentId,
    pub(in crate::storage) how: ReceiptOutcome,
}

impl OutboxEntry {
    pub(in crate::storage) fn of(self, user_agent: UserAgentId) -> MessageEnd {
        MessageEnd {
            receipts: self.receipts,
            user_agent,
            id: self.id,
            how: self.how,
        }
    }
}

/// A message with TTL 0 for which a receipt was requested. It is remembered while its acknowledgement counts (PR-21).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct PassingMessage {
    /// The receipt number under which it is kept, and afterwards how it ended.
    pub(in crate::storage) number: MessageNumber,
    pub(in crate::storage) nonce: u64,
    pub(in crate::storage) subscription: SubscriptionId,
    pub(in crate::storage) receipts: UserAgentId,
    pub(in crate::storage) until_ms: u64,
}

impl PassingMessage {
    pub(in crate::storage) fn ended(&self, how: ReceiptOutcome) -> OutboxEntry {
        OutboxEntry {
            id: MessageId {
                number: PASSING_WITH_RECEIPT,
                nonce: self.nonce,
            },
            receipts: self.receipts,
            how,
        }
    }
}

/// A receipt that a receipt subscription expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct Expectation {
    /// The receipt number under which it is kept.
    pub(in crate::storage) number: MessageNumber,
    pub(in crate::storage) user_agent: UserAgentId,
    pub(in crate::storage) nonce: u64,
    pub(in crate::storage) dialect: Dialect,
    pub(in crate::storage) sealed_by: KeyId,
    pub(in crate::storage) deadline_ms: u64,
}

impl Expectation {
    pub(in crate::storage) fn overdue(&self, receipts: UserAgentId) -> Overdue {
        Overdue {
            receipts,
            user_agent: self.user_agent,
            nonce: self.nonce,
        }
    }
}

/// As a whole.
impl ReceiptState {
    pub(in crate::storage) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// About how much memory it takes, in bytes.
    pub(in crate::storage) fn bytes(&self) -> usize {
        let Some(tables) = &self.0 else { return 0 };
        size_of::<Tables>()
            + tables.requested.len() * size_of::<(MessageNumber, Requested)>()
            + tables.outbox.len() * size_of::<(MessageNumber, OutboxEntry)>()
            + tables.passing.len() * size_of::<PassingMessage>()
            + (tables.expected.len() + tables.orphaned.len()) * size_of::<Expectation>()
    }

    /// Call when everything was loaded. Storages list a user agent exactly if it has an outbox.
    pub(in crate::storage) fn finish_loading(&mut self) {
        if let Some(tables) = &mut self.0 {
            tables.listed = !tables.outbox.is_empty();
            tables.sort_orphaned();
        }
    }

    /// Call at the end of a step. Frees the memory of an empty state. Returns whether storages have to list this user agent
    /// among those with an outbox from now on, if that changed.
    pub(super) fn finish_step(&mut self) -> Option<bool> {
        let tables = self.0.as_mut()?;
        let listed = !tables.outbox.is_empty();
        let has_changed = std::mem::replace(&mut tables.listed, listed) != listed;
        let is_used = listed
            || !(tables.requested.is_empty()
                && tables.passing.is_empty()
                && tables.expected.is_empty()
                && tables.orphaned.is_empty());
        if !is_used {
            self.0 = None;
        }
        has_changed.then_some(listed)
    }

    /// The next free receipt number.
    pub(super) fn next_number(&mut self, now: Now) -> MessageNumber {
        let tables = self.tables_mut();
        let next = (tables.last_receipt_number.0 + 1).max(FIRST_RECEIPT_NUMBER.0 | now.us);
        tables.last_receipt_number = MessageNumber(next);
        tables.last_receipt_number
    }

    fn tables_mut(&mut self) -> &mut Tables {
        self.0.get_or_insert_default()
    }
}

/// Messages that wait, and the outbox.
impl ReceiptState {
    /// A message for which a receipt was requested joined the queue.
    pub(super) fn request(&mut self, id: MessageId, receipts: UserAgentId) {
        let nonce = id.nonce;
        let requested = Requested { nonce, receipts };
        self.tables_mut().requested.insert(id.number, requested);
    }

    /// The receipt subscription of a message that is in the queue.
    pub(super) fn requested(&self, number: MessageNumber) -> Option<UserAgentId> {
        Some(self.0.as_ref()?.requested.get(&number)?.receipts)
    }

    /// The message in the queue with this nonce, as if it were given up now.
    pub(super) fn requested_with_nonce(&self, nonce: u64) -> Option<OutboxEntry> {
        let requested = self.0.as_ref()?.requested.iter();
        let (number, requested) = requested
            .into_iter()
            .find(|(_, requested)| requested.nonce == nonce)?;
        Some(OutboxEntry {
            id: MessageId {
                number: *number,
                nonce,
            },
            receipts: requested.receipts,
            how: ReceiptOutcome::GivenUp,
        })
    }

    /// A message ended. If a receipt was requested for it, how it ended joins the outbox and is returned.
    pub(super) fn end(&mut self, number: MessageNumber, how: ReceiptOutcome) -> Option<OutboxEntry> {
        let tables = self.0.as_mut()?;
        let Requested { nonce, receipts } = tables.requested.remove(&number)?;
        let id = MessageId { number, nonce };
        let ended = OutboxEntry { id, receipts, how };
        tables.outbox.insert(number, ended);
        Some(ended)
    }

    /// Puts an entry into the outbox, under a receipt number or as it was loaded.
    pub(in crate::storage) fn insert_outbox(&mut self, number: MessageNumber, ended: OutboxEntry) {
        let tables = self.tables_mut();
        tables.last_receipt_number = tables.last_receipt_number.max(number);
        tables.outbox.insert(number, ended);
    }

    /// The outbox, each entry with its number.
    pub(super) fn outbox(&self) -> impl Iterator<Item = (MessageNumber, &OutboxEntry)> {
        let outbox = self.0.iter().flat_map(|tables| &tables.outbox);
        outbox.map(|(number, ended)| (*number, ended))
    }

    /// The number of a message's entry in the outbox.
    pub(super) fn outbox_number(&self, id: MessageId) -> Option<MessageNumber> {
        let outbox = &self.0.as_ref()?.outbox;
        if outbox.get(&id.number).is_some_and(|ended| ended.id == id) {
            return Some(id.number);
        }
        let mut passed = outbox.range(FIRST_RECEIPT_NUMBER..);
        passed
            .find(|(_, ended)| ended.id == id)
            .map(|(number, _)| *number)
    }

    /// Whether the outbox has an entry under this number.
    pub(super) fn is_in_outbox(&self, number: MessageNumber) -> bool {
        self.0
            .as_ref()
            .is_some_and(|tables| tables.outbox.contains_key(&number))
    }

    /// Removes what was relayed from the outbox, and returns the number of its entry.
    pub(super) fn clear_outbox(&mut self, id: MessageId) -> Option<MessageNumber> {
        let number = self.outbox_number(id)?;
        self.tables_mut().outbox.remove(&number);
        Some(number)
    }
}

/// Messages with TTL 0.
impl ReceiptState {
    /// Remembers a message with TTL 0. Returns false if too many are remembered already: then nothing changes.
    pub(super) fn add_passing(&mut self, passing: PassingMessage) -> bool {
        let tables = self.tables_mut();
        let has_room = tables.passing.len() < PASSING_RECEIPTS;
        if has_room {
            tables.passing.push(passing);
        }
        has_room
    }

    /// Takes in what a storage has.
    pub(in crate::storage) fn load_passing(&mut self, passing: PassingMessage) {
        let tables = self.tables_mut();
        tables.last_receipt_number = tables.last_receipt_number.max(passing.number);
        tables.passing.push(passing);
    }

    pub(super) fn passing(&self) -> &[PassingMessage] {
        self.0.as_ref().map_or(&[], |tables| &tables.passing)
    }

    /// Removes and returns those for which `is_over` holds, at most `limit`.
    pub(super) fn take_passing(
        &mut self,
        limit: usize,
        is_over: impl Fn(&PassingMessage) -> bool,
    ) -> Vec<PassingMessage> {
        let Some(tables) = &mut self.0 else {
            return Vec::new();
        };
        let mut left = limit;
        let taken = tables.passing.extract_if(.., |passing| {
            let is_taken = left > 0 && is_over(passing);
            left -= usize::from(is_taken);
            is_taken
        });
        taken.collect()
    }
}

/// What a receipt subscription expects.
impl ReceiptState {
    /// How many receipts are expected.
    pub(super) fn expected_count(&self) -> usize {
        self.0.as_ref().map_or(0, |tables| tables.expected.len())
    }

    pub(super) fn expectation(&self, user_agent: UserAgentId, nonce: u64) -> Option<&Expectation> {
        self.0.as_ref()?.expected.get(&(user_agent, nonce))
    }

    /// Adds an expectation, new or as it was loaded, in place of an older one of the same message. `is_owed` is false if
    /// the receipt subscription has ended: then it is only to be freed.
    pub(in crate::storage) fn add_expectation(&mut self, expectation: Expectation, is_owed: bool) {
        let tables = self.tables_mut();
        tables.last_receipt_number = tables.last_receipt_number.max(expectation.number);
        if is_owed {
            let message = (expectation.user_agent, expectation.nonce);
            tables.expected.insert(message, expectation);
        } else {
            tables.orphaned.push(expectation);
        }
    }

    /// Removes and returns the expectation of a message: its outcome is known.
    pub(super) fn take_expectation(&mut self, user_agent: UserAgentId, nonce: u64) -> Option<Expectation> {
        self.0.as_mut()?.expected.remove(&(user_agent, nonce))
    }

    /// All expectations, in the order in which they were added.
    pub(super) fn expectations(&self) -> Vec<&Expectation> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .flat_map(|tables| tables.expected.values())
            .collect();
        all.sort_unstable_by_key(|expectation| expectation.number);
        all
    }

    /// The receipt subscription ended: its expectations are to be freed.
    pub(super) fn orphan_expectations(&mut self) {
        if let Some(tables) = &mut self.0 {
            let expected = tables.expected.drain().map(|(_, expectation)| expectation);
            tables.orphaned.extend(expected);
            tables.sort_orphaned();
        }
    }

    pub(super) fn has_orphaned(&self) -> bool {
        self.0.as_ref().is_some_and(|tables| !tables.orphaned.is_empty())
    }

    /// Removes and returns at most `limit` expectations of a subscription that has ended, the oldest ones.
    pub(super) fn take_orphaned(&mut self, limit: usize) -> Vec<Expectation> {
        let Some(tables) = &mut self.0 else {
            return Vec::new();
        };
        let keep = tables.orphaned.len().saturating_sub(limit);
        tables.orphaned.split_off(keep)
    }
}

impl Tables {
    /// The first that were expected stand last, where they are freed.
    fn sort_orphaned(&mut self) {
        self.orphaned
            .sort_unstable_by_key(|expected| Reverse(expected.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that is in use is counted, entry by entry. An empty state takes none.
    #[test]
    fn bytes_are_those_of_the_entries() {
        let (one, other) = (UserAgentId([1; 16]), UserAgentId([2; 16]));
        let mut state = ReceiptState::default();
        assert_eq!(state.bytes(), 0);
        let id = |number| MessageId {
            number: MessageNumber(number),
            nonce: number,
        };
        let expectation = |number| Expectation {
            number: MessageNumber(FIRST_RECEIPT_NUMBER.0 + number),
            user_agent: other,
            nonce: number,
            dialect: Dialect::Rfc8030,
            sealed_by: KeyId(3),
            deadline_ms: 7,
        };
        let passing = |number| PassingMessage {
            number: MessageNumber(FIRST_RECEIPT_NUMBER.0 + number),
            nonce: number,
            subscription: SubscriptionId([1; 8]),
            receipts: one,
            until_ms: 7,
        };
        let mut expected = size_of::<Tables>();
        for number in 1..=3 {
            state.request(id(number), one);
            expected += size_of::<(MessageNumber, Requested)>();
            assert_eq!(state.bytes(), expected);
        }
        for number in 4..=6 {
            let entry = passing(number).ended(ReceiptOutcome::GivenUp);
            state.insert_outbox(MessageNumber(number), entry);
            expected += size_of::<(MessageNumber, OutboxEntry)>();
            assert_eq!(state.bytes(), expected);
            state.load_passing(passing(number));
            expected += size_of::<PassingMessage>();
            assert_eq!(state.bytes(), expected);
            for is_owed in [true, false] {
                state.add_expectation(expectation(number), is_owed);
                expected += size_of::<Expectation>();
                assert_eq!(state.bytes(), expected);
            }
        }
    }
}

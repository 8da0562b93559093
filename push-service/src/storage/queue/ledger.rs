//! What a user agent has to do with receipts (PR-25), on either side.
//!
//! Of a message that a receipt was asked for, the ledger knows who is to be told for as long as the message is there, and
//! how it ended from then on until that was carried over. Of a receipt subscription it knows what is owed to it. All of it
//! stands beside the queue, so that a message without a receipt costs nothing.
//!
//! What is no message is kept under a *place*: a number above those of all messages. So storages may keep it among them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, UserAgentId};

use super::{Changes, Now, UserAgent};
use crate::defaults::PASSING_RECEIPTS;
use crate::storage::{Expected, MessageEnd, Overdue, PASSING_WITH_RECEIPT};

/// Above all numbers of messages, which are microseconds since 1970.
pub(in crate::storage) const FIRST_PLACE: MessageNumber = MessageNumber(1 << 63);

/// All that a user agent has to do with receipts. Owns nothing while that is nothing.
#[derive(Default, Debug)]
pub(in crate::storage) struct Ledger(Option<Box<Books>>);

#[derive(Default, Debug)]
struct Books {
    /// Messages that wait, or waited for a subscription that ended and are not freed yet.
    asked: BTreeMap<MessageNumber, Asked>,
    /// How messages ended, by what they are kept under.
    outbox: BTreeMap<MessageNumber, Ended>,
    /// Whether storages list this user agent among those that have an outbox.
    listed: bool,
    passing: Vec<Passing>,
    /// What is owed to this receipt subscription.
    expected: HashMap<(UserAgentId, u64), Expectation>,
    /// What was owed to it when it ended, to be freed.
    forsaken: Vec<Expectation>,
    last_place: MessageNumber,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    nonce: u64,
    receipts: UserAgentId,
}

/// A message that ended, of the user agent whose ledger this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct Ended {
    pub(in crate::storage) id: MessageId,
    pub(in crate::storage) receipts: UserAgentId,
    pub(in crate::storage) how: ReceiptOutcome,
}

impl Ended {
    pub(in crate::storage) fn of(self, user_agent: UserAgentId) -> MessageEnd {
        MessageEnd {
            receipts: self.receipts,
            user_agent,
            id: self.id,
            how: self.how,
        }
    }
}

/// A message with TTL 0 on its way, which is remembered while its acknowledgement counts (PR-21).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct Passing {
    /// Under what it is kept, and how it ended afterwards.
    pub(in crate::storage) place: MessageNumber,
    pub(in crate::storage) nonce: u64,
    pub(in crate::storage) subscription: SubscriptionId,
    pub(in crate::storage) receipts: UserAgentId,
    pub(in crate::storage) until_ms: u64,
}

impl Passing {
    pub(in crate::storage) fn ended(&self, how: ReceiptOutcome) -> Ended {
        Ended {
            id: MessageId {
                number: PASSING_WITH_RECEIPT,
                nonce: self.nonce,
            },
            receipts: self.receipts,
            how,
        }
    }
}

/// A receipt that is owed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct Expectation {
    pub(in crate::storage) place: MessageNumber,
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

impl Ledger {
    pub(in crate::storage) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// About what it takes in memory.
    pub(in crate::storage) fn bytes(&self) -> usize {
        let Some(books) = &self.0 else { return 0 };
        size_of::<Books>()
            + books.asked.len() * size_of::<(MessageNumber, Asked)>()
            + books.outbox.len() * size_of::<(MessageNumber, Ended)>()
            + books.passing.len() * size_of::<Passing>()
            + (books.expected.len() + books.forsaken.len()) * size_of::<Expectation>()
    }

    /// A message joined the queue.
    pub(super) fn ask(&mut self, id: MessageId, receipts: UserAgentId) {
        let nonce = id.nonce;
        self.books().asked.insert(id.number, Asked { nonce, receipts });
    }

    /// Who is told of a message's end, while it is there.
    pub(super) fn asked(&self, number: MessageNumber) -> Option<UserAgentId> {
        Some(self.0.as_ref()?.asked.get(&number)?.receipts)
    }

    /// A message that is there and has this nonce.
    pub(super) fn asked_as(&self, nonce: u64) -> Option<Ended> {
        let asked = self.0.as_ref()?.asked.iter();
        let (number, asked) = asked.into_iter().find(|(_, asked)| asked.nonce == nonce)?;
        Some(Ended {
            id: MessageId {
                number: *number,
                nonce,
            },
            receipts: asked.receipts,
            how: ReceiptOutcome::GivenUp,
        })
    }

    /// A message is there no more. Says what is to be remembered of it, if anything is.
    pub(super) fn close(&mut self, number: MessageNumber, how: ReceiptOutcome) -> Option<Ended> {
        let books = self.0.as_mut()?;
        let Asked { nonce, receipts } = books.asked.remove(&number)?;
        let id = MessageId { number, nonce };
        let ended = Ended { id, receipts, how };
        books.outbox.insert(number, ended);
        Some(ended)
    }

    /// What joins the outbox in a place of its own, or stood there in a storage.
    pub(in crate::storage) fn put_ended(&mut self, place: MessageNumber, ended: Ended) {
        let books = self.books();
        books.last_place = books.last_place.max(place);
        books.outbox.insert(place, ended);
    }

    /// The outbox, each with what it's kept under.
    pub(super) fn outbox(&self) -> impl Iterator<Item = (MessageNumber, &Ended)> {
        let outbox = self.0.iter().flat_map(|books| &books.outbox);
        outbox.map(|(place, ended)| (*place, ended))
    }

    /// Under what the outcome of a message is kept.
    pub(super) fn place_of(&self, id: MessageId) -> Option<MessageNumber> {
        let outbox = &self.0.as_ref()?.outbox;
        if outbox.get(&id.number).is_some_and(|ended| ended.id == id) {
            return Some(id.number);
        }
        let mut passed = outbox.range(FIRST_PLACE..);
        passed.find(|(_, ended)| ended.id == id).map(|(place, _)| *place)
    }

    /// Whether a message of this number ended.
    pub(super) fn has_ended(&self, number: MessageNumber) -> bool {
        self.0
            .as_ref()
            .is_some_and(|books| books.outbox.contains_key(&number))
    }

    /// Takes out of the outbox what was carried over.
    pub(super) fn clear(&mut self, id: MessageId) -> Option<MessageNumber> {
        let place = self.place_of(id)?;
        self.books().outbox.remove(&place);
        Some(place)
    }

    /// All was loaded. Storages list it exactly if it has an outbox.
    pub(in crate::storage) fn is_loaded(&mut self) {
        if let Some(books) = &mut self.0 {
            books.listed = !books.outbox.is_empty();
            books.sort_forsaken();
        }
    }

    /// Whether storages have to begin or to cease to list it; gives up what is empty.
    pub(super) fn settle_down(&mut self) -> Option<bool> {
        let books = self.0.as_mut()?;
        let listed = !books.outbox.is_empty();
        let is_news = std::mem::replace(&mut books.listed, listed) != listed;
        let is_used = listed
            || !(books.asked.is_empty()
                && books.passing.is_empty()
                && books.expected.is_empty()
                && books.forsaken.is_empty());
        if !is_used {
            self.0 = None;
        }
        is_news.then_some(listed)
    }

    /// A message with TTL 0 passes by; not remembered if too many do.
    pub(super) fn pass(&mut self, passing: Passing) -> bool {
        let books = self.books();
        let has_room = books.passing.len() < PASSING_RECEIPTS;
        if has_room {
            books.passing.push(passing);
        }
        has_room
    }

    pub(super) fn passing(&self) -> &[Passing] {
        self.0.as_ref().map_or(&[], |books| &books.passing)
    }

    /// Takes out those that passed by, at most `limit`.
    pub(super) fn passed(&mut self, limit: usize, passed: impl Fn(&Passing) -> bool) -> Vec<Passing> {
        let Some(books) = &mut self.0 else {
            return Vec::new();
        };
        let mut left = limit;
        let taken = books.passing.extract_if(.., |passing| {
            let is_taken = left > 0 && passed(passing);
            left -= usize::from(is_taken);
            is_taken
        });
        taken.collect()
    }

    /// What a storage has.
    pub(in crate::storage) fn load_passing(&mut self, passing: Passing) {
        let books = self.books();
        books.last_place = books.last_place.max(passing.place);
        books.passing.push(passing);
    }

    /// How many receipts are owed.
    pub(super) fn owed(&self) -> usize {
        self.0.as_ref().map_or(0, |books| books.expected.len())
    }

    pub(super) fn expectation(&self, user_agent: UserAgentId, nonce: u64) -> Option<&Expectation> {
        self.0.as_ref()?.expected.get(&(user_agent, nonce))
    }

    /// Writes down that a receipt is owed, in the place of what was expected of the same message before.
    pub(super) fn expect(&mut self, expected: &Expected, now: Now) -> Expectation {
        let before = self.expectation(expected.user_agent, expected.nonce);
        let place = before.map(|before| before.place);
        let expectation = Expectation {
            place: place.unwrap_or_else(|| self.next_place(now)),
            user_agent: expected.user_agent,
            nonce: expected.nonce,
            dialect: expected.dialect,
            sealed_by: expected.sealed_by,
            deadline_ms: now.ms().saturating_add(super::millis(expected.within)),
        };
        self.load_expectation(expectation, true);
        expectation
    }

    /// What a storage has; owed if the receipt subscription is still there.
    pub(in crate::storage) fn load_expectation(&mut self, expectation: Expectation, is_owed: bool) {
        let books = self.books();
        books.last_place = books.last_place.max(expectation.place);
        if is_owed {
            let message = (expectation.user_agent, expectation.nonce);
            books.expected.insert(message, expectation);
        } else {
            books.forsaken.push(expectation);
        }
    }

    /// It is not owed any more.
    pub(super) fn settle(&mut self, user_agent: UserAgentId, nonce: u64) -> Option<Expectation> {
        self.0.as_mut()?.expected.remove(&(user_agent, nonce))
    }

    /// The receipt subscription ended: nothing is owed to it.
    pub(super) fn forsake(&mut self) {
        if let Some(books) = &mut self.0 {
            let expected = books.expected.drain().map(|(_, expectation)| expectation);
            books.forsaken.extend(expected);
            books.sort_forsaken();
        }
    }

    pub(super) fn has_forsaken(&self) -> bool {
        self.0.as_ref().is_some_and(|books| !books.forsaken.is_empty())
    }

    /// Some of what nobody expects any more.
    pub(super) fn free(&mut self, limit: usize) -> Vec<Expectation> {
        let Some(books) = &mut self.0 else {
            return Vec::new();
        };
        let keep = books.forsaken.len().saturating_sub(limit);
        books.forsaken.split_off(keep)
    }

    /// All that is owed, in the order in which it was expected.
    pub(super) fn expectations(&self) -> Vec<&Expectation> {
        let mut all: Vec<_> = self.0.iter().flat_map(|books| books.expected.values()).collect();
        all.sort_unstable_by_key(|expectation| expectation.place);
        all
    }

    pub(super) fn next_place(&mut self, now: Now) -> MessageNumber {
        let books = self.books();
        let next = (books.last_place.0 + 1).max(FIRST_PLACE.0 | now.us);
        books.last_place = MessageNumber(next);
        books.last_place
    }

    fn books(&mut self) -> &mut Books {
        self.0.get_or_insert_default()
    }
}

impl Books {
    /// The first that were expected stand last, where they are freed.
    fn sort_forsaken(&mut self) {
        self.forsaken
            .sort_unstable_by_key(|expected| Reverse(expected.place));
    }
}

impl UserAgent {
    /// Storage forgets a message, or remembers only how it ended if somebody is to be told.
    pub(super) fn part_with(&mut self, number: MessageNumber, how: ReceiptOutcome, changes: &mut Changes) {
        match self.ledger.close(number, how) {
            Some(ended) => changes.books().ended.push((number, ended)),
            None => changes.removed.push(number),
        }
    }

    /// How a message ended that passed by.
    pub(super) fn put_out(&mut self, passing: &Passing, how: ReceiptOutcome, changes: &mut Changes) {
        let ended = passing.ended(how);
        self.ledger.put_ended(passing.place, ended);
        changes.books().ended.push((passing.place, ended));
    }
}

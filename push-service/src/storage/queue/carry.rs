//! A user agent leaves for another storage, or arrives from one (PR-37).
//!
//! Arriving, nothing gives way: what is there stays as it is, and what would end or replace it is left out and counted.
//! So a repeated import changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use push_protocol::capability::KeyId;
use push_protocol::{MessageNumber, PushMessage, ReceiptOutcome, Urgency, UserAgentId};

use super::{
    Changes, Ended, Expectation, FIRST_PLACE, Now, Share, Step, Stored, Subscription, UserAgent, Waiting,
};
use crate::storage::portable::{
    Packing, Place, Portable, PortableExpectation, PortableMessage, PortableSubscription,
};
use crate::storage::{Imported, MessageEnd, PASSING_WITH_RECEIPT, RECEIPTS};

/// What stands in a user agent's queue, and among it.
enum Item<'a> {
    Message(&'a Waiting),
    Ended(Ended),
    Expectation(&'a Expectation),
}

/// A user agent on its way into pages of an export: its record stands in front of whatever is given of it.
pub(in crate::storage) struct Leaving {
    /// Whether it is known here: if not, all that is given is how messages ended.
    is_known: bool,
    has_subscriptions: bool,
    /// Its record, if this page does not have it yet.
    record: Option<Portable>,
}

impl Leaving {
    pub(in crate::storage) fn new(record: Portable, is_known: bool) -> Self {
        let has_subscriptions = !record.subscriptions.is_empty();
        let is_known = is_known && has_subscriptions;
        Self {
            is_known,
            has_subscriptions,
            record: Some(if is_known { record } else { bare(record) }),
        }
    }

    /// The first of its values comes by: the record itself.
    pub(in crate::storage) fn enter(&mut self, packing: &mut Packing) {
        match (self.is_known, self.has_subscriptions) {
            (true, _) => self.begin(packing),
            (false, true) => packing.leave_abandoned(),
            // Nothing of it could be used elsewhere.
            (false, false) => {}
        }
    }

    /// A message comes by that waits, or waited when its user agent was abandoned.
    pub(in crate::storage) fn message(
        &mut self,
        message: Option<PortableMessage>,
        packing: &mut Packing,
        now: Now,
    ) {
        let Some(message) = message.filter(|_| self.is_known) else {
            return;
        };
        if message.expires_at_ms <= now.ms() {
            packing.leave_expired();
            return;
        }
        self.begin(packing);
        packing.add(message);
    }

    pub(in crate::storage) fn outcome(&mut self, outcome: MessageEnd, packing: &mut Packing) {
        self.begin(packing);
        packing.add_message_end(outcome);
    }

    pub(in crate::storage) fn expectation(&mut self, expectation: &Expectation, packing: &mut Packing) {
        if self.is_known {
            self.begin(packing);
            packing.add_expectation(expectation.portable());
        }
    }

    fn begin(&mut self, packing: &mut Packing) {
        if let Some(record) = self.record.take() {
            packing.begin(record);
        }
    }
}

/// The record of a user agent of which nothing but its outbox can be used elsewhere.
fn bare(record: Portable) -> Portable {
    Portable {
        last: MessageNumber::START,
        retained_until_ms: 0,
        unused: false,
        subscriptions: Vec::new(),
        ..record
    }
}

impl UserAgent {
    /// Its record as it travels, with nothing that stands below it.
    pub(in crate::storage) fn portable(&self, user_agent: UserAgentId) -> Portable {
        Portable {
            user_agent,
            last: self.last,
            retained_until_ms: self.retained_until_ms,
            unused: self.unused,
            subscriptions: self.subscriptions.iter().map(Subscription::portable).collect(),
            messages: Vec::new(),
            outbox: Vec::new(),
            expected: Vec::new(),
        }
    }

    /// Packs what comes after `upto`, or the record and all, as far as there is room, from a state that has its messages
    /// with it. Says where to go on if that was not all.
    pub(in crate::storage) fn pack(
        &self,
        user_agent: UserAgentId,
        upto: Option<MessageNumber>,
        packing: &mut Packing,
        now: Now,
    ) -> Option<Place> {
        let mut record = Leaving::new(self.portable(user_agent), self.is_known(now));
        if upto.is_none() {
            record.enter(packing);
        }
        let mut place = Place {
            user_agent,
            upto: upto.unwrap_or(MessageNumber::START),
        };
        for (number, item) in self.items_after(place.upto) {
            if packing.is_full() {
                return Some(place);
            }
            place.upto = number;
            match item {
                Item::Message(waiting) => {
                    let receipts = self.ledger.asked(number);
                    record.message(waiting.portable(receipts), packing, now);
                }
                Item::Ended(ended) => record.outcome(ended.of(user_agent), packing),
                Item::Expectation(expectation) => record.expectation(expectation, packing),
            }
        }
        None
    }

    fn items_after(&self, number: MessageNumber) -> BTreeMap<MessageNumber, Item<'_>> {
        let waiting = self.waiting.after(number, Urgency::VeryLow);
        let outbox = self.ledger.outbox().filter(|(place, _)| *place > number);
        let expected = self.ledger.expectations().into_iter();
        let messages = waiting.map(|w| (w.id.number, Item::Message(w)));
        let outcomes = outbox.map(|(place, ended)| (place, Item::Ended(*ended)));
        // Whoever moves has no channel through which it could be acknowledged.
        let passing = self.ledger.passing().iter().filter(|p| p.place > number);
        let given_up = passing.map(|p| (p.place, Item::Ended(p.ended(ReceiptOutcome::GivenUp))));
        let expectations = expected.filter(|expected| expected.place > number);
        let expectations = expectations.map(|expected| (expected.place, Item::Expectation(expected)));
        messages
            .chain(outcomes)
            .chain(given_up)
            .chain(expectations)
            .collect()
    }

    /// Takes a record in: the subscriptions that are missing here, and the later of both retentions and numbers. It is
    /// unused if neither storage has used it.
    pub(in crate::storage) fn import_record(&mut self, part: &Portable, now: Now) -> Step<Imported> {
        let mut changes = self.begin(now);
        let mut imported = Imported::default();
        if part.retained_until_ms <= now.ms() {
            imported.abandoned = part.subscriptions.len() as u64;
            return self.finish(imported, changes, now);
        }
        let was_known = self.is_known(now);
        // What ended here is freed first: a message that comes back must not be among it.
        self.free(usize::MAX, &mut changes, now);
        for arriving in &part.subscriptions {
            let same = |s: &&Subscription| s.id == arriving.id || s.name == arriving.name;
            match self.subscriptions.iter().find(same) {
                Some(known) if known.id == arriving.id && known.name == arriving.name => {
                    imported.present += 1;
                }
                Some(_) => imported.in_the_way += 1,
                None => {
                    self.take_in(arriving);
                    imported.subscriptions += 1;
                }
            }
        }
        let later = (
            self.last.max(part.last),
            self.retained_until_ms.max(part.retained_until_ms),
            part.unused && (self.unused || !was_known),
        );
        let before = (self.last, self.retained_until_ms, self.unused);
        let is_new = later != before || imported.subscriptions > 0;
        if is_new && !self.subscriptions.is_empty() {
            (self.last, self.retained_until_ms, self.unused) = later;
            changes.record = true;
        }
        self.finish(imported, changes, now)
    }

    fn take_in(&mut self, arriving: &PortableSubscription) {
        let subscription = Subscription {
            id: arriving.id,
            name: arriving.name,
            created_at_secs: arriving.created_at_secs,
            key: arriving.key.map(Box::new),
            share: Share::default(),
            bucket: None,
        };
        let place = self.subscriptions.partition_point(|s| s.id < subscription.id);
        self.subscriptions.insert(place, subscription);
    }

    /// Takes a message of a part in, under its old id. No budget counts, and no seat is told: it is found with the next page.
    pub(in crate::storage) fn import_message(
        &mut self,
        arriving: &PortableMessage,
        retained_until_ms: u64,
        now: Now,
    ) -> Step<Imported> {
        let mut changes = self.begin(now);
        let mut imported = Imported::default();
        let there = self.waiting.get(arriving.id.number).map(|waiting| waiting.id);
        if retained_until_ms <= now.ms() {
            imported.abandoned = 1;
        } else if arriving.expires_at_ms <= now.ms() {
            imported.expired = 1;
        } else if there == Some(arriving.id) {
            imported.present = 1;
        } else if there.is_some() || !self.has_place_for(arriving, now) {
            imported.in_the_way = 1;
        } else {
            self.put_in_portable(arriving, &mut changes, now);
            imported.messages = 1;
        }
        self.finish(imported, changes, now)
    }

    /// Whether its subscription is there, and no message of its topic.
    fn has_place_for(&self, arriving: &PortableMessage, now: Now) -> bool {
        let topic = arriving.topic;
        let of_topic = topic.and_then(|topic| self.waiting.of_topic(arriving.subscription, topic));
        // Outside of these no number is a message's: storages keep other things there.
        let is_numbered = arriving.id.number > PASSING_WITH_RECEIPT && arriving.id.number < FIRST_PLACE;
        is_numbered
            && !self.ended.contains(&arriving.id.number)
            && !self.ledger.has_ended(arriving.id.number)
            && self.subscription(arriving.subscription).is_some()
            && of_topic.is_none_or(|waiting| waiting.has_expired(now.ms()))
    }

    fn put_in_portable(&mut self, arriving: &PortableMessage, changes: &mut Changes, now: Now) {
        let Some(name) = self.subscription(arriving.subscription).map(|s| s.name) else {
            return;
        };
        let message = Arc::new(PushMessage {
            id: arriving.id,
            subscription: arriving.subscription,
            name,
            urgency: arriving.urgency,
            content: arriving.content.clone(),
            key: arriving.key.map(Box::new),
            sealed_by: KeyId(arriving.sealed_by),
            accepted_at_ms: arriving.accepted_at_ms,
            remaining_ms: arriving.expires_at_ms - now.ms(),
        });
        let stored = Stored {
            message,
            topic: arriving.topic,
            expires_at_ms: arriving.expires_at_ms,
            sealed_by: arriving.sealed_by,
            receipts: arriving.receipts,
            sender: arriving.sender,
        };
        let waiting = Waiting::of(&stored);
        changes.counts_in(&waiting);
        self.put_in(waiting, arriving.receipts);
        self.mark_used(changes);
        changes.stored = Some(stored);
    }

    /// Takes an outcome in. It belongs to no subscription.
    pub(in crate::storage) fn import_message_end(
        &mut self,
        arriving: &MessageEnd,
        now: Now,
    ) -> Step<Imported> {
        let mut changes = self.begin(now);
        let mut imported = Imported::default();
        let number = arriving.id.number;
        let is_passing = number == PASSING_WITH_RECEIPT;
        let is_taken = self.waiting.get(number).is_some()
            || self.ended.contains(&number)
            || self.ledger.has_ended(number);
        if self.ledger.place_of(arriving.id).is_some() {
            imported.present = 1;
        } else if !is_passing && (is_taken || number < PASSING_WITH_RECEIPT || number >= FIRST_PLACE) {
            imported.in_the_way = 1;
        } else {
            let place = if is_passing {
                self.ledger.next_place(now)
            } else {
                number
            };
            let ended = Ended {
                id: arriving.id,
                receipts: arriving.receipts,
                how: arriving.how,
            };
            self.ledger.put_ended(place, ended);
            changes.books().ended.push((place, ended));
            imported.receipts = 1;
        }
        self.finish(imported, changes, now)
    }

    /// Takes in what is owed, if the receipt subscription is here.
    pub(in crate::storage) fn import_expectation(
        &mut self,
        arriving: &PortableExpectation,
        now: Now,
    ) -> Step<Imported> {
        let mut changes = self.begin(now);
        let mut imported = Imported::default();
        let known = self.ledger.expectation(arriving.user_agent, arriving.nonce);
        if known.is_some() {
            imported.present = 1;
        } else if self.subscription(RECEIPTS).is_none() {
            imported.in_the_way = 1;
        } else {
            let expectation = Expectation {
                place: self.ledger.next_place(now),
                user_agent: arriving.user_agent,
                nonce: arriving.nonce,
                dialect: arriving.dialect,
                sealed_by: arriving.sealed_by,
                deadline_ms: arriving.deadline_ms,
            };
            self.ledger.load_expectation(expectation, true);
            changes.books().expected = Some(expectation);
            imported.receipts = 1;
        }
        self.finish(imported, changes, now)
    }
}

impl Subscription {
    fn portable(&self) -> PortableSubscription {
        PortableSubscription {
            id: self.id,
            name: self.name,
            created_at_secs: self.created_at_secs,
            key: self.key.as_deref().copied(),
        }
    }
}

impl Waiting {
    /// As it travels, if its body is here.
    fn portable(&self, receipts: Option<UserAgentId>) -> Option<PortableMessage> {
        let message = self.message.as_deref()?;
        Some(PortableMessage {
            id: self.id,
            subscription: self.subscription,
            urgency: self.urgency,
            topic: self.topic.as_deref().copied(),
            accepted_at_ms: message.accepted_at_ms,
            expires_at_ms: self.expires_at_ms,
            sealed_by: self.sealed_by,
            key: message.key.as_deref().copied(),
            receipts,
            sender: self.sender,
            content: message.content.clone(),
        })
    }
}

impl Expectation {
    fn portable(&self) -> PortableExpectation {
        PortableExpectation {
            user_agent: self.user_agent,
            nonce: self.nonce,
            dialect: self.dialect,
            sealed_by: self.sealed_by,
            deadline_ms: self.deadline_ms,
        }
    }
}

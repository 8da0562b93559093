//! Import of a user agent from another storage (PR-37).
//!
//! An import replaces and ends nothing: what would is left out, and counted. So a repeated import changes nothing.

use std::sync::Arc;

use push_protocol::PushMessage;
use push_protocol::capability::KeyId;

use super::{
    Changes, Expectation, FIRST_RECEIPT_NUMBER, IndexEntry, Now, OutboxEntry, Share, Step, Stored,
    Subscription, UserAgent,
};
use crate::storage::portable::{Portable, PortableExpectation, PortableMessage, PortableSubscription};
use crate::storage::{Imported, MessageEnd, PASSING_WITH_RECEIPT, RECEIPTS};

impl UserAgent {
    /// Imports a record: adds the subscriptions that are missing here, and keeps the later of both retentions and numbers.
    /// The record is unused if neither storage has used it.
    pub(in crate::storage) fn import_record(&mut self, part: &Portable, now: Now) -> Step<Imported> {
        let mut changes = self.begin(now);
        let mut imported = Imported::default();
        if part.retained_until_ms <= now.ms() {
            imported.abandoned = part.subscriptions.len() as u64;
            return self.finish(imported, changes, now);
        }
        let was_known = self.is_known(now);
        // What ended here is freed first, so that no imported message has the number of one that is to be freed.
        self.free(usize::MAX, &mut changes, now);
        for arriving in &part.subscriptions {
            let same = |s: &&Subscription| s.id == arriving.id || s.name == arriving.name;
            match self.subscriptions.iter().find(same) {
                Some(known) if known.id == arriving.id && known.name == arriving.name => {
                    imported.present += 1;
                }
                Some(_) => imported.in_the_way += 1,
                None => {
                    self.import_subscription(arriving);
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

    fn import_subscription(&mut self, arriving: &PortableSubscription) {
        self.insert_subscription(Subscription {
            id: arriving.id,
            name: arriving.name,
            created_at_secs: arriving.created_at_secs,
            key: arriving.key.map(Box::new),
            share: Share::default(),
            bucket: None,
        });
    }

    /// Imports a message under its old id. No limit applies, and no seat is told: a session finds it with its next page.
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
        } else if there.is_some() || !self.can_import(arriving, now) {
            imported.in_the_way = 1;
        } else {
            self.insert_imported(arriving, &mut changes, now);
            imported.messages = 1;
        }
        self.finish(imported, changes, now)
    }

    /// Whether its subscription is there, its number is free, and no message of its topic waits.
    fn can_import(&self, arriving: &PortableMessage, now: Now) -> bool {
        let topic = arriving.topic;
        let of_topic = topic.and_then(|topic| self.waiting.of_topic(arriving.subscription, topic));
        // Storages keep other things under the numbers outside of these.
        let is_numbered =
            arriving.id.number > PASSING_WITH_RECEIPT && arriving.id.number < FIRST_RECEIPT_NUMBER;
        is_numbered
            && !self.to_free.contains(&arriving.id.number)
            && !self.receipt_state.is_in_outbox(arriving.id.number)
            && self.subscription(arriving.subscription).is_some()
            && of_topic.is_none_or(|waiting| waiting.has_expired(now.ms()))
    }

    fn insert_imported(&mut self, arriving: &PortableMessage, changes: &mut Changes, now: Now) {
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
        let waiting = IndexEntry::of(&stored);
        changes.add_to_gauges(&waiting);
        self.put_in(waiting, arriving.receipts);
        self.mark_used(changes);
        changes.stored = Some(stored);
    }

    /// Imports an entry of the outbox. It needs no subscription.
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
            || self.to_free.contains(&number)
            || self.receipt_state.is_in_outbox(number);
        let is_numbered = number >= PASSING_WITH_RECEIPT && number < FIRST_RECEIPT_NUMBER;
        if self.receipt_state.outbox_number(arriving.id).is_some() {
            imported.present = 1;
        } else if !is_passing && (is_taken || !is_numbered) {
            imported.in_the_way = 1;
        } else {
            let number = if is_passing {
                self.receipt_state.next_number(now)
            } else {
                number
            };
            let ended = OutboxEntry {
                id: arriving.id,
                receipts: arriving.receipts,
                how: arriving.how,
            };
            self.receipt_state.insert_outbox(number, ended);
            changes.receipts_mut().outbox.push((number, ended));
            imported.receipts = 1;
        }
        self.finish(imported, changes, now)
    }

    /// Imports an expected receipt, if the receipt subscription is here.
    pub(in crate::storage) fn import_expectation(
        &mut self,
        arriving: &PortableExpectation,
        now: Now,
    ) -> Step<Imported> {
        let mut changes = self.begin(now);
        let mut imported = Imported::default();
        let known = self
            .receipt_state
            .expectation(arriving.user_agent, arriving.nonce);
        if known.is_some() {
            imported.present = 1;
        } else if self.subscription(RECEIPTS).is_none() {
            imported.in_the_way = 1;
        } else {
            let expectation = Expectation {
                number: self.receipt_state.next_number(now),
                user_agent: arriving.user_agent,
                nonce: arriving.nonce,
                dialect: arriving.dialect,
                sealed_by: arriving.sealed_by,
                deadline_ms: arriving.deadline_ms,
            };
            self.receipt_state.add_expectation(expectation, true);
            changes.receipts_mut().expected = Some(expectation);
            imported.receipts = 1;
        }
        self.finish(imported, changes, now)
    }
}

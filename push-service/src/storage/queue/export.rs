//! Export of a user agent to another storage (PR-37): its record, and page by page what its queue holds.

use std::collections::BTreeMap;

use push_protocol::{MessageNumber, ReceiptOutcome, Urgency, UserAgentId};

use super::{Expectation, IndexEntry, Now, OutboxEntry, Subscription, UserAgent};
use crate::storage::MessageEnd;
use crate::storage::portable::{
    ExportPage, ExportPosition, Portable, PortableExpectation, PortableMessage, PortableSubscription,
};

/// What a queue holds beside the record.
enum Item<'a> {
    Message(&'a IndexEntry),
    Ended(OutboxEntry),
    Expectation(&'a Expectation),
}

/// The export of one user agent into pages. In each page, its record comes before all else of it.
pub(in crate::storage) struct UserAgentExport {
    /// Whether the user agent is known. If not, only its outbox is exported.
    is_known: bool,
    has_subscriptions: bool,
    /// Its record, if this page does not have it yet.
    record: Option<Portable>,
}

impl UserAgentExport {
    pub(in crate::storage) fn new(record: Portable, is_known: bool) -> Self {
        let has_subscriptions = !record.subscriptions.is_empty();
        let is_known = is_known && has_subscriptions;
        Self {
            is_known,
            has_subscriptions,
            record: Some(if is_known { record } else { without_record(record) }),
        }
    }

    /// Exports the record itself. Call first, unless an earlier page has it.
    pub(in crate::storage) fn record(&mut self, page: &mut ExportPage) {
        match (self.is_known, self.has_subscriptions) {
            (true, _) => self.begin(page),
            (false, true) => page.skip_abandoned(),
            // Another storage could use nothing of it.
            (false, false) => {}
        }
    }

    /// Exports a message. `None`: its subscription has ended, or its body is gone.
    pub(in crate::storage) fn message(
        &mut self,
        message: Option<PortableMessage>,
        page: &mut ExportPage,
        now: Now,
    ) {
        let Some(message) = message.filter(|_| self.is_known) else {
            return;
        };
        if message.expires_at_ms <= now.ms() {
            page.skip_expired();
            return;
        }
        self.begin(page);
        page.add_message(message);
    }

    /// Exports an entry of the outbox.
    pub(in crate::storage) fn message_end(&mut self, end: MessageEnd, page: &mut ExportPage) {
        self.begin(page);
        page.add_message_end(end);
    }

    /// Exports an expected receipt.
    pub(in crate::storage) fn expectation(&mut self, expectation: &Expectation, page: &mut ExportPage) {
        if self.is_known {
            self.begin(page);
            page.add_expectation(expectation.portable());
        }
    }

    fn begin(&mut self, page: &mut ExportPage) {
        if let Some(record) = self.record.take() {
            page.begin(record);
        }
    }
}

/// For a user agent of which another storage can use nothing but its outbox.
fn without_record(record: Portable) -> Portable {
    Portable {
        last: MessageNumber::START,
        retained_until_ms: 0,
        unused: false,
        subscriptions: Vec::new(),
        ..record
    }
}

impl UserAgent {
    /// Its record as it is exported, without anything else of its queue.
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

    /// Exports what comes after `upto` (`None`: everything), as far as the page has room. For a state that has its messages
    /// with it. Returns where to go on if that was not all.
    pub(in crate::storage) fn export(
        &self,
        user_agent: UserAgentId,
        upto: Option<MessageNumber>,
        page: &mut ExportPage,
        now: Now,
    ) -> Option<ExportPosition> {
        let mut export = UserAgentExport::new(self.portable(user_agent), self.is_known(now));
        if upto.is_none() {
            export.record(page);
        }
        let mut position = ExportPosition {
            user_agent,
            upto: upto.unwrap_or(MessageNumber::START),
        };
        for (number, item) in self.items_after(position.upto) {
            if page.is_full() {
                return Some(position);
            }
            position.upto = number;
            match item {
                Item::Message(waiting) => {
                    let receipts = self.receipt_state.requested(number);
                    export.message(waiting.portable(receipts), page, now);
                }
                Item::Ended(ended) => export.message_end(ended.of(user_agent), page),
                Item::Expectation(expectation) => export.expectation(expectation, page),
            }
        }
        None
    }

    fn items_after(&self, number: MessageNumber) -> BTreeMap<MessageNumber, Item<'_>> {
        let waiting = self.waiting.after(number, Urgency::VeryLow);
        let messages = waiting.map(|w| (w.id.number, Item::Message(w)));
        let outbox = self.receipt_state.outbox().filter(|(at, _)| *at > number);
        let outbox = outbox.map(|(at, ended)| (at, Item::Ended(*ended)));
        // No channel of the other storage could acknowledge a message with TTL 0.
        let passing = self.receipt_state.passing().iter();
        let passing = passing.filter(|p| p.number > number);
        let given_up = passing.map(|p| (p.number, Item::Ended(p.ended(ReceiptOutcome::GivenUp))));
        let expected = self.receipt_state.expectations().into_iter();
        let expected = expected.filter(|expected| expected.number > number);
        let expected = expected.map(|expected| (expected.number, Item::Expectation(expected)));
        messages.chain(outbox).chain(given_up).chain(expected).collect()
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

impl IndexEntry {
    /// As it is exported, if its body is in memory.
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

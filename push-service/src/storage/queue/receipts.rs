//! The steps of receipts (PR-25): what a user agent's outbox says, and what a receipt subscription is owed.
//!
//! Outboxes fill wherever messages leave; here they are read and cleared. A receipt subscription is a user agent like any
//! other, with one subscription, [`RECEIPTS`], whose messages are receipts: it attaches, pages and acknowledges as others do.

use std::sync::Arc;

use bytes::Bytes;
use push_protocol::capability::MessageCapability;
use push_protocol::{Coding, Content, MessageId, PushMessage, Receipt, ReceiptOutcome, Urgency, UserAgentId};

use super::ledger::Expectation;
use super::{Changes, Ended, Now, Step, Stored, UserAgent, Waiting, millis};
use crate::defaults::RECEIPT_KEPT;
use crate::storage::{Expected, Expecting, MessageEnd, RECEIPTS, RECEIPTS_NAME, SubscriptionId, Traced};

impl UserAgent {
    /// Whether a healthy store knows this subscription.
    pub(in crate::storage) fn has_subscription(&self, id: SubscriptionId, now: Now) -> bool {
        self.is_known(now) && self.subscription(id).is_some()
    }

    /// The outbox, the oldest message first; those with TTL 0 come last.
    pub(in crate::storage) fn outbox(&self, user_agent: UserAgentId, limit: usize) -> Vec<MessageEnd> {
        let outbox = self.ledger.outbox().take(limit);
        outbox.map(|(_, ended)| ended.of(user_agent)).collect()
    }

    /// Takes out of the outbox what was carried over.
    pub(in crate::storage) fn clear_outbox(&mut self, messages: &[MessageId], now: Now) -> Step<()> {
        let mut changes = self.begin(now);
        let cleared = messages.iter().filter_map(|id| self.ledger.clear(*id));
        changes.removed.extend(cleared);
        self.finish((), changes, now)
    }

    /// What is known of a message that a receipt was asked for. Changes nothing.
    pub(in crate::storage) fn trace(&self, user_agent: UserAgentId, nonce: u64, now: Now) -> Traced {
        let mut outbox = self.ledger.outbox();
        if let Some((_, ended)) = outbox.find(|(_, ended)| ended.id.nonce == nonce) {
            return Traced::Ended(ended.of(user_agent));
        }
        let passing = self.ledger.passing().iter().find(|p| p.nonce == nonce);
        if let Some(passing) = passing {
            let given_up = passing.ended(ReceiptOutcome::GivenUp);
            return given_up.unless(now.ms() < passing.until_ms, user_agent);
        }
        let Some(given_up) = self.ledger.asked_as(nonce) else {
            return Traced::Nothing;
        };
        let waiting = self
            .waiting
            .get(given_up.id.number)
            .filter(|_| self.is_known(now));
        given_up.unless(waiting.is_some_and(|w| !w.has_expired(now.ms())), user_agent)
    }

    /// Writes down that a receipt will be owed. No budget evicts receipts, so there is a limit to what is owed.
    pub(in crate::storage) fn expect_receipt(&mut self, expected: &Expected, now: Now) -> Step<Expecting> {
        let mut changes = self.begin(now);
        let Some(waiting) = self.subscription(RECEIPTS).map(|s| s.share.messages) else {
            return self.finish(Expecting::NoReceiptSubscription, changes, now);
        };
        let before = self
            .ledger
            .expectation(expected.user_agent, expected.nonce)
            .copied();
        let all = self.ledger.owed() + waiting as usize;
        if before.is_none() && all >= expected.limit as usize {
            return self.finish(Expecting::TooMany, changes, now);
        }
        let expectation = self.ledger.expect(expected, now);
        let books = changes.books();
        books.forgotten.extend(before);
        books.expected = Some(expectation);
        self.mark_used(&mut changes);
        self.retain(expected.kept(), now, &mut changes);
        self.finish(Expecting::Expected, changes, now)
    }

    /// Turns what is owed into receipts. The seat's holder finds them with its next page, and is told when they are
    /// durable.
    pub(in crate::storage) fn settle_receipts(&mut self, outcomes: &[MessageEnd], now: Now) -> Step<()> {
        let mut changes = self.begin(now);
        for outcome in outcomes {
            let Some(owed) = self.ledger.settle(outcome.user_agent, outcome.id.nonce) else {
                // Settled before, or never owed.
                continue;
            };
            changes.books().forgotten.push(owed);
            if outcome.how.status().is_some() {
                self.receive(&receipt(&owed, outcome), &mut changes, now);
            }
        }
        if let Some(books) = changes.books.as_mut().filter(|books| !books.receipts.is_empty()) {
            books.read_again = self.seat;
            self.retain(RECEIPT_KEPT, now, &mut changes);
        }
        self.finish((), changes, now)
    }

    /// A receipt joins the queue.
    fn receive(&mut self, receipt: &Receipt, changes: &mut Changes, now: Now) {
        let kept_ms = millis(RECEIPT_KEPT);
        let message = Arc::new(PushMessage {
            id: MessageId {
                number: self.next_number(now),
                // As random as that of the message itself.
                nonce: receipt.message.id.nonce,
            },
            subscription: RECEIPTS,
            name: RECEIPTS_NAME,
            urgency: Urgency::Normal,
            content: Content {
                coding: Coding::Absent,
                media_type: None,
                body: Bytes::copy_from_slice(&receipt.to_bytes()),
            },
            key: None,
            sealed_by: receipt.sealed_by,
            accepted_at_ms: now.ms(),
            remaining_ms: kept_ms,
        });
        let stored = Stored {
            expires_at_ms: now.ms().saturating_add(kept_ms),
            sealed_by: receipt.sealed_by.0,
            topic: None,
            receipts: None,
            sender: None,
            message,
        };
        let waiting = Waiting::of(&stored);
        changes.counts_in(&waiting);
        self.put_in(waiting, None);
        changes.books().receipts.push(stored);
    }
}

impl Ended {
    fn unless(self, waits: bool, user_agent: UserAgentId) -> Traced {
        match waits {
            true => Traced::Waiting,
            false => Traced::Ended(self.of(user_agent)),
        }
    }
}

fn receipt(owed: &Expectation, outcome: &MessageEnd) -> Receipt {
    Receipt {
        message: MessageCapability {
            user_agent: owed.user_agent,
            id: outcome.id,
            dialect: owed.dialect,
        },
        sealed_by: owed.sealed_by,
        how: outcome.how,
    }
}

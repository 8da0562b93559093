//! The steps of receipts (PR-25): what a user agent's outbox holds, and which receipts a receipt subscription expects.
//!
//! Outboxes fill wherever messages leave the queue; here they are read and cleared. A receipt subscription is a user agent
//! with one subscription, [`RECEIPTS`], whose messages are receipts: it attaches, pages and acknowledges like any other.

use std::sync::Arc;

use bytes::Bytes;
use push_protocol::capability::MessageCapability;
use push_protocol::{
    Coding, Content, MessageId, MessageNumber, PushMessage, Receipt, ReceiptOutcome, Urgency, UserAgentId,
};

use super::{
    Changes, Expectation, IndexEntry, Now, OutboxEntry, PassingMessage, Step, Stored, UserAgent, millis,
};
use crate::defaults::RECEIPT_KEPT;
use crate::storage::{
    ExpectReceipt, MessageEnd, RECEIPTS, RECEIPTS_NAME, ReceiptExpected, SubscriptionId, Traced,
};

impl UserAgent {
    /// Whether a healthy store knows this subscription.
    pub(in crate::storage) fn has_subscription(&self, id: SubscriptionId, now: Now) -> bool {
        self.is_known(now) && self.subscription(id).is_some()
    }

    /// The outbox, the oldest message first; those with TTL 0 come last.
    pub(in crate::storage) fn outbox(&self, user_agent: UserAgentId, limit: usize) -> Vec<MessageEnd> {
        let outbox = self.receipt_state.outbox().take(limit);
        outbox.map(|(_, ended)| ended.of(user_agent)).collect()
    }

    /// Removes what was relayed from the outbox.
    pub(in crate::storage) fn clear_outbox(&mut self, messages: &[MessageId], now: Now) -> Step<()> {
        let mut changes = self.begin(now);
        let cleared = messages.iter();
        let cleared = cleared.filter_map(|id| self.receipt_state.clear_outbox(*id));
        changes.removed.extend(cleared);
        self.finish((), changes, now)
    }

    /// What is known of a message for which a receipt was requested. Changes nothing.
    pub(in crate::storage) fn trace(&self, user_agent: UserAgentId, nonce: u64, now: Now) -> Traced {
        let mut outbox = self.receipt_state.outbox();
        if let Some((_, ended)) = outbox.find(|(_, ended)| ended.id.nonce == nonce) {
            return Traced::Ended(ended.of(user_agent));
        }
        let mut passing = self.receipt_state.passing().iter();
        if let Some(passing) = passing.find(|p| p.nonce == nonce) {
            let given_up = passing.ended(ReceiptOutcome::GivenUp);
            return given_up.unless(now.ms() < passing.until_ms, user_agent);
        }
        let Some(given_up) = self.receipt_state.requested_with_nonce(nonce) else {
            return Traced::Nothing;
        };
        let waiting = self
            .waiting
            .get(given_up.id.number)
            .filter(|_| self.is_known(now));
        given_up.unless(waiting.is_some_and(|w| !w.has_expired(now.ms())), user_agent)
    }

    /// Records that a receipt will be owed. Receipts are never evicted, so there is a limit to those that are expected or
    /// wait.
    pub(in crate::storage) fn expect_receipt(
        &mut self,
        expected: &ExpectReceipt,
        now: Now,
    ) -> Step<ReceiptExpected> {
        let mut changes = self.begin(now);
        let Some(waiting) = self.subscription(RECEIPTS).map(|s| s.share.messages) else {
            return self.finish(ReceiptExpected::NoReceiptSubscription, changes, now);
        };
        let before = self
            .receipt_state
            .expectation(expected.user_agent, expected.nonce)
            .copied();
        let all = self.receipt_state.expected_count() + waiting as usize;
        if before.is_none() && all >= expected.limit as usize {
            return self.finish(ReceiptExpected::TooMany, changes, now);
        }
        // Whatever was expected of the same message before keeps its number.
        let number = before.map(|before| before.number);
        let expectation = Expectation {
            number: number.unwrap_or_else(|| self.receipt_state.next_number(now)),
            user_agent: expected.user_agent,
            nonce: expected.nonce,
            dialect: expected.dialect,
            sealed_by: expected.sealed_by,
            deadline_ms: now.ms().saturating_add(millis(expected.within)),
        };
        self.receipt_state.add_expectation(expectation, true);
        let receipts = changes.receipts_mut();
        receipts.forgotten.extend(before);
        receipts.expected = Some(expectation);
        self.mark_used(&mut changes);
        self.retain(expected.kept(), now, &mut changes);
        self.finish(ReceiptExpected::Recorded, changes, now)
    }

    /// Turns expected receipts into receipts. The holder of the seat finds them with its next page, and is told when they
    /// are durable.
    pub(in crate::storage) fn settle_receipts(&mut self, ends: &[MessageEnd], now: Now) -> Step<()> {
        let mut changes = self.begin(now);
        for end in ends {
            let Some(expectation) = self.receipt_state.take_expectation(end.user_agent, end.id.nonce) else {
                // Settled before, or never expected.
                continue;
            };
            changes.receipts_mut().forgotten.push(expectation);
            if end.how.is_told() {
                self.add_receipt(&receipt(&expectation, end), &mut changes, now);
            }
        }
        let changed = changes.receipts.as_mut();
        if let Some(receipts) = changed.filter(|receipts| !receipts.joined.is_empty()) {
            receipts.read_again = self.seat;
            self.retain(RECEIPT_KEPT, now, &mut changes);
        }
        self.finish((), changes, now)
    }

    /// A receipt joins the queue.
    fn add_receipt(&mut self, receipt: &Receipt, changes: &mut Changes, now: Now) {
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
        let waiting = IndexEntry::of(&stored);
        changes.add_to_gauges(&waiting);
        self.put_in(waiting, None);
        changes.receipts_mut().joined.push(stored);
    }

    /// A message ended: it is removed or, if a receipt was requested, replaced by an entry of the outbox.
    pub(super) fn end_message(&mut self, number: MessageNumber, how: ReceiptOutcome, changes: &mut Changes) {
        match self.receipt_state.end(number, how) {
            Some(ended) => changes.receipts_mut().outbox.push((number, ended)),
            None => changes.removed.push(number),
        }
    }

    /// A message with TTL 0 ended: an entry of the outbox takes its number.
    pub(super) fn end_passing(
        &mut self,
        passing: &PassingMessage,
        how: ReceiptOutcome,
        changes: &mut Changes,
    ) {
        let ended = passing.ended(how);
        self.receipt_state.insert_outbox(passing.number, ended);
        changes.receipts_mut().outbox.push((passing.number, ended));
    }
}

impl OutboxEntry {
    fn unless(self, waits: bool, user_agent: UserAgentId) -> Traced {
        match waits {
            true => Traced::Waiting,
            false => Traced::Ended(self.of(user_agent)),
        }
    }
}

fn receipt(expectation: &Expectation, end: &MessageEnd) -> Receipt {
    Receipt {
        message: MessageCapability {
            user_agent: expectation.user_agent,
            id: end.id,
            dialect: expectation.dialect,
        },
        sealed_by: expectation.sealed_by,
        how: end.how,
    }
}

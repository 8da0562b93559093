//! Receipts: an application server is told what became of its message (RFC 8030 §5.1, §6.3).
//!
//! A receipt subscription is a queue like a user agent's, and a receipt is a message in it. That a receipt is owed is
//! written down there before its message is stored; how the message ended stands in its user agent's outbox, written by the
//! step that ended it. This module carries from the one to the other. A node may die between any two steps: what is in an
//! outbox is found again, and what is owed for too long is asked after. So each message that was answered 202 has exactly
//! one receipt, or none if it was replaced (PR-25).
//!
//! It deliberately doesn't know how a receipt is brought, or that it has arrived: whoever monitors the queue does.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use push_protocol::capability::MessageKind;
use push_protocol::{
    KeyDigest, MessageId, MessageNumber, PushMessage, Receipt, ReceiptOutcome, Ttl, UserAgentId,
};
use ring::digest;
use tokio::time::{Instant, timeout_at};

use super::outboxes::Outboxes;
use super::{Broker, PushResource, Refusal};
use crate::budgets::Payer;
use crate::defaults::{
    ACKNOWLEDGE_WITHIN, RECEIPT_CARRIERS, RECEIPT_GRACE, RECEIPT_POLL, RECEIPT_ROUNDS, RECEIPT_STEP,
    RECEIPTS_PER_SUBSCRIPTION,
};
use crate::metrics::Step;
use crate::random;
use crate::storage::{
    Ending, Expected, Expecting, MessageEnd, Overdue, RECEIPTS, RECEIPTS_NAME, StorageError, Subscribe,
    Subscribed, Traced,
};

/// Who is to be told.
#[derive(Clone, Debug)]
pub enum ReceiptWish {
    /// A receipt subscription that the service chooses, for a sender that has proved who it is or not.
    Chosen(Option<KeyDigest>),
    /// This one, which the sender was given before.
    Named(UserAgentId),
}

/// A receipt that is written down.
pub(super) struct Promised {
    pub(super) receipts: UserAgentId,
    /// The token of the receipt subscription.
    pub(super) token: String,
    /// Nobody else knows the receipt subscription: it was made for this message.
    is_fresh: bool,
    expected: Expected,
}

/// A receipt that is to be told.
pub struct ReceiptTold {
    /// The URL of the message, as its sender knows it.
    pub message_url: String,
    /// 204 or 410.
    pub status: u16,
}

impl Broker {
    /// Opens the token of a receipt subscription. Costs no storage.
    pub fn open_receipts(&self, token: &str) -> Result<UserAgentId, Refusal> {
        let opened = self.capabilities.open_receipts(token);
        let opened = opened.ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(opened.capability)
    }

    /// Ends a receipt subscription with everything that is owed to it.
    pub async fn end_receipts(&self, receipts: UserAgentId) -> Result<(), Refusal> {
        let end = self.storage.end(receipts, Ending::All);
        match self.step(Step::Unsubscribe, end).await? {
            true => Ok(()),
            false => Err(Refusal::UnknownResource),
        }
    }

    /// Whether there is such a receipt subscription.
    pub async fn has_receipts(&self, receipts: UserAgentId) -> Result<bool, StorageError> {
        self.has_subscription(receipts, RECEIPTS).await
    }

    /// What a message of a receipt subscription's queue says. `None` if it is no receipt.
    pub fn receipt(&self, message: &PushMessage) -> Option<ReceiptTold> {
        let receipt = Receipt::from_bytes(&message.content.body)?;
        let token = self
            .capabilities
            .seal_message(MessageKind::Message, receipt.sealed_by, &receipt.message);
        Some(ReceiptTold {
            message_url: self.message_url(&token),
            status: receipt.how.status()?,
        })
    }

    pub(super) async fn promise_receipt(
        &self,
        push: &PushResource,
        wish: &ReceiptWish,
        nonce: u64,
        ttl: Ttl,
        payer: Payer,
    ) -> Result<Promised, Refusal> {
        let receipts = match wish {
            ReceiptWish::Named(receipts) => *receipts,
            ReceiptWish::Chosen(sender) => chosen(push, *sender),
        };
        // A message with TTL 0 has as long as an acknowledgement may take (PR-21).
        let lasts = Duration::from_secs(u64::from(ttl.as_secs())).max(ACKNOWLEDGE_WITHIN);
        let promised = Promised {
            receipts,
            token: self.capabilities.seal_receipts(receipts),
            is_fresh: matches!(wish, ReceiptWish::Chosen(None)),
            expected: Expected {
                user_agent: push.capability.user_agent,
                nonce,
                dialect: push.dialect,
                sealed_by: push.sealed_by,
                within: lasts + RECEIPT_GRACE,
                limit: RECEIPTS_PER_SUBSCRIPTION,
            },
        };
        let mut expecting = if promised.is_fresh {
            Expecting::NoReceiptSubscription
        } else {
            self.expect(&promised).await?
        };
        if expecting == Expecting::NoReceiptSubscription && matches!(wish, ReceiptWish::Chosen(_)) {
            // It outlives the request: whoever holds the URL of an ended subscription makes none.
            self.budgets.make_record(payer)?;
            if !self.is_there(push).await {
                self.budgets.unmake_record(payer);
                return Err(Refusal::SubscriptionGone);
            }
            self.make_receipt_subscription(receipts).await?;
            expecting = self.expect(&promised).await?;
        }
        match expecting {
            Expecting::Expected => Ok(promised),
            Expecting::NoReceiptSubscription => Err(Refusal::UnknownReceipts),
            Expecting::TooMany => Err(Refusal::TooManyReceipts),
        }
    }

    async fn expect(&self, promised: &Promised) -> Result<Expecting, StorageError> {
        let expect = self.storage.expect_receipt(promised.receipts, promised.expected);
        self.step(Step::Receipt, expect).await
    }

    async fn make_receipt_subscription(&self, receipts: UserAgentId) -> Result<(), Refusal> {
        let subscribe = Subscribe {
            user_agent: receipts,
            name: RECEIPTS_NAME,
            fresh_id: RECEIPTS,
            key: None,
            seat: None,
            limit: 1,
            only_known: false,
        };
        match self
            .step(Step::Subscribe, self.storage.subscribe(subscribe))
            .await?
        {
            Subscribed::Created(_) | Subscribed::Kept(_) => Ok(()),
            Subscribed::TooMany | Subscribed::UnknownUserAgent => Err(Refusal::StorageUnavailable),
        }
    }

    /// The message was refused, so nothing is owed. Where it may have been stored, the promise stands (PR-2).
    pub(super) async fn take_promise_back(&self, promised: &Promised, refusal: &Refusal) {
        if matches!(refusal, Refusal::StorageUnavailable | Refusal::StorageFull) {
            return;
        }
        if promised.is_fresh {
            // With everything in it, or each refused push would leave one behind.
            let end = self.storage.end(promised.receipts, Ending::All);
            let _ = self.answered(Step::Unsubscribe, end).await;
            return;
        }
        let Expected {
            user_agent, nonce, ..
        } = promised.expected;
        let nothing = never_stored(promised.receipts, user_agent, nonce);
        // If this fails too, whoever asks after the receipt finds that the message was never stored.
        let _ = self.settle(promised.receipts, &[nothing]).await;
    }

    async fn settle(&self, receipts: UserAgentId, outcomes: &[MessageEnd]) -> Result<(), StorageError> {
        let settle = self.storage.settle_receipts(receipts, outcomes);
        self.answered(Step::Receipt, settle).await
    }

    /// Carries what outboxes hold to the receipt subscriptions, for as long as it's polled. Dropped between steps it loses
    /// nothing, and repeats at most what is passed over the second time.
    pub async fn keep_carrying(&self, outboxes: &Outboxes) {
        let mut look_at = Instant::now() + RECEIPT_POLL;
        loop {
            // What was hinted at while others were carried is taken at once.
            let _ = timeout_at(look_at, outboxes.wait()).await;
            // Also where hints never end: what a node left behind would wait for their end otherwise.
            if look_at <= Instant::now() {
                // Whatever can't be told now is found by the next look.
                self.look_for_owed(outboxes).await;
                look_at = Instant::now() + RECEIPT_POLL;
            }
            for some in outboxes.take().chunks(RECEIPT_CARRIERS) {
                let carried = join_all(some.iter().map(|user_agent| self.carry(*user_agent))).await;
                for (user_agent, carried) in some.iter().zip(carried) {
                    if carried.is_err() {
                        outboxes.again(*user_agent);
                    }
                }
            }
        }
    }

    /// Handles what no hint announced: outboxes that a node left behind, and overdue receipts. An error with one does
    /// not stop the others.
    pub(crate) async fn look_for_owed(&self, outboxes: &Outboxes) {
        let owing = self.answered(Step::Receipt, self.storage.owing(RECEIPT_STEP));
        for user_agent in owing.await.unwrap_or_default() {
            outboxes.again(user_agent);
        }
        for _ in 0..RECEIPT_ROUNDS {
            let overdue = self.answered(Step::Receipt, self.storage.overdue(RECEIPT_STEP));
            let overdue = overdue.await.unwrap_or_default();
            self.ask_after(&overdue).await;
            if overdue.len() < RECEIPT_STEP {
                break;
            }
        }
    }

    /// Asks for the outcome of messages, and settles the known ones. The others are overdue again when their lease
    /// ends.
    async fn ask_after(&self, overdue: &[Overdue]) {
        for some in overdue.chunks(RECEIPT_CARRIERS) {
            let traced = join_all(some.iter().map(|one| self.trace(one))).await;
            let mut by_receiver: BTreeMap<UserAgentId, Vec<MessageEnd>> = BTreeMap::new();
            for outcome in traced.into_iter().flatten() {
                by_receiver.entry(outcome.receipts).or_default().push(outcome);
            }
            let settled = by_receiver
                .iter()
                .map(|(receipts, outcomes)| self.settle(*receipts, outcomes));
            // Counted; a failed one is asked for again.
            drop(join_all(settled).await);
        }
    }

    /// The outcome of a message; `None` while it waits, or while its storage is in trouble.
    async fn trace(&self, overdue: &Overdue) -> Option<MessageEnd> {
        let trace = self.storage.trace(overdue.user_agent, overdue.nonce);
        match self.answered(Step::Receipt, trace).await.ok()? {
            Traced::Waiting => None,
            Traced::Ended(outcome) => Some(outcome),
            // So it was never answered 202.
            Traced::Nothing => Some(never_stored(overdue.receipts, overdue.user_agent, overdue.nonce)),
        }
    }

    /// Empties one outbox, a step at a time: first told, then cleared.
    async fn carry(&self, user_agent: UserAgentId) -> Result<(), StorageError> {
        loop {
            let waiting = self.storage.outbox(user_agent, RECEIPT_STEP);
            let outcomes = self.answered(Step::Receipt, waiting).await?;
            if outcomes.is_empty() {
                return Ok(());
            }
            let mut by_receiver: BTreeMap<UserAgentId, Vec<MessageEnd>> = BTreeMap::new();
            for outcome in &outcomes {
                by_receiver.entry(outcome.receipts).or_default().push(*outcome);
            }
            for (receipts, outcomes) in by_receiver {
                self.settle(receipts, &outcomes).await?;
            }
            let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.id).collect();
            let clear = self.storage.clear_outbox(user_agent, &ids);
            self.answered(Step::Receipt, clear).await?;
        }
    }
}

/// One receipt subscription for each subscription and sender that has proved who it is: who names none costs one queue
/// and not one for each push. Somebody unknown gets a fresh one, because another unknown sender must not see its receipts.
fn chosen(push: &PushResource, sender: Option<KeyDigest>) -> UserAgentId {
    let Some(sender) = sender else {
        return UserAgentId(random::bytes());
    };
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"push-service: receipt subscription");
    context.update(&push.capability.user_agent.0);
    context.update(&push.capability.subscription.0);
    context.update(&sender.0);
    let mut id = [0; 16];
    id.copy_from_slice(&context.finish().as_ref()[..16]);
    UserAgentId(id)
}

/// The outcome of a message that is nowhere: its expectation leaves, as if it had been replaced, and nobody is told.
fn never_stored(receipts: UserAgentId, user_agent: UserAgentId, nonce: u64) -> MessageEnd {
    let number = MessageNumber::START;
    MessageEnd {
        receipts,
        user_agent,
        id: MessageId { number, nonce },
        how: ReceiptOutcome::Replaced,
    }
}

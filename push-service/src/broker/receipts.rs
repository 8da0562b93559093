//! Receipts: an application server is told how its message ended (RFC 8030 §5.1, §6.3).
//!
//! A receipt subscription is a queue like a user agent's, and a receipt is a message in it. An expected receipt is recorded
//! there before its message is stored. How the message ended stands in its user agent's outbox, written by the step that
//! ended it. This module relays outboxes to receipt subscriptions. A node may be killed between any two steps: outboxes are
//! found again, and the messages of overdue receipts are traced. So each message that was accepted with a receipt has
//! exactly one receipt, or none if it was replaced (PR-25).
//!
//! It deliberately does not know how a receipt is delivered, or that it has arrived: the channel that monitors the queue
//! does.

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
    ACKNOWLEDGE_WITHIN, RECEIPT_GRACE, RECEIPT_POLL, RECEIPT_RELAYS, RECEIPT_ROUNDS, RECEIPT_STEP,
    RECEIPTS_PER_SUBSCRIPTION,
};
use crate::metrics::Step;
use crate::random;
use crate::storage::{
    Ending, ExpectReceipt, MessageEnd, Overdue, RECEIPTS, RECEIPTS_NAME, ReceiptExpected, StorageError,
    Subscribe, Subscribed, Traced,
};

/// Which receipt subscription gets the receipt.
#[derive(Clone, Debug)]
pub enum ReceiptWish {
    /// One that the service chooses. With the key of the sender, if the sender has proved that it owns one.
    Chosen(Option<KeyDigest>),
    /// This one: the sender named it.
    Named(UserAgentId),
}

/// A receipt that the sender requested. Its receipt subscription expects it.
pub(super) struct RequestedReceipt {
    pub(super) receipts: UserAgentId,
    /// The token of the receipt subscription.
    pub(super) token: String,
    /// Whether the receipt subscription was made for this message, so that no one else knows it.
    is_fresh: bool,
    expected: ExpectReceipt,
}

/// What a message in the queue of a receipt subscription says.
pub struct OpenedReceipt {
    /// The token of the message, as its sender knows it.
    pub message_token: String,
    /// How the message ended.
    pub how: ReceiptOutcome,
}

impl Broker {
    /// Opens the token of a receipt subscription. Costs no storage.
    pub fn open_receipts(&self, token: &str) -> Result<UserAgentId, Refusal> {
        let opened = self.capabilities.open_receipts(token);
        let opened = opened.ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(opened.capability)
    }

    /// Ends a receipt subscription, with all receipts that wait in it or are expected.
    pub async fn end_receipts(&self, receipts: UserAgentId) -> Result<(), Refusal> {
        let end = self.storage.end(receipts, Ending::All);
        match self.step(Step::Unsubscribe, end).await? {
            true => Ok(()),
            false => Err(Refusal::UnknownResource),
        }
    }

    /// Reads a message in the queue of a receipt subscription. `None` if it is not a receipt.
    pub fn receipt(&self, message: &PushMessage) -> Option<OpenedReceipt> {
        let receipt = Receipt::from_bytes(&message.content.body)?;
        let message_token =
            self.capabilities
                .seal_message(MessageKind::Message, receipt.sealed_by, &receipt.message);
        Some(OpenedReceipt {
            message_token,
            how: receipt.how,
        })
    }

    pub(super) async fn request_receipt(
        &self,
        push: &PushResource,
        wish: &ReceiptWish,
        nonce: u64,
        ttl: Ttl,
        payer: Payer,
    ) -> Result<RequestedReceipt, Refusal> {
        let receipts = match wish {
            ReceiptWish::Named(receipts) => *receipts,
            ReceiptWish::Chosen(sender) => chosen(push, *sender),
        };
        // The acknowledgement of a message with TTL 0 counts for as long (PR-21).
        let lasts = Duration::from_secs(u64::from(ttl.as_secs())).max(ACKNOWLEDGE_WITHIN);
        let requested = RequestedReceipt {
            receipts,
            token: self.capabilities.seal_receipts(receipts),
            is_fresh: matches!(wish, ReceiptWish::Chosen(None)),
            expected: ExpectReceipt {
                user_agent: push.capability.user_agent,
                nonce,
                dialect: push.dialect,
                sealed_by: push.sealed_by,
                within: lasts + RECEIPT_GRACE,
                limit: RECEIPTS_PER_SUBSCRIPTION,
            },
        };
        let mut answer = if requested.is_fresh {
            ReceiptExpected::NoReceiptSubscription
        } else {
            self.expect(&requested).await?
        };
        if answer == ReceiptExpected::NoReceiptSubscription && matches!(wish, ReceiptWish::Chosen(_)) {
            // It outlives the request, so none is made for a subscription that has ended.
            self.budgets.make_record(payer)?;
            if !self.may_have_subscription(push).await {
                self.budgets.unmake_record(payer);
                return Err(Refusal::SubscriptionGone);
            }
            self.make_receipt_subscription(receipts).await?;
            answer = self.expect(&requested).await?;
        }
        match answer {
            ReceiptExpected::Recorded => Ok(requested),
            ReceiptExpected::NoReceiptSubscription => Err(Refusal::UnknownReceipts),
            ReceiptExpected::TooMany => Err(Refusal::TooManyReceipts),
        }
    }

    async fn expect(&self, requested: &RequestedReceipt) -> Result<ReceiptExpected, StorageError> {
        let expect = self
            .storage
            .expect_receipt(requested.receipts, requested.expected);
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

    /// The message was refused, so its receipt is expected no more. If it may have been stored, the receipt stays expected (PR-2).
    pub(super) async fn withdraw_receipt(&self, requested: &RequestedReceipt, refusal: &Refusal) {
        if matches!(refusal, Refusal::StorageUnavailable | Refusal::StorageFull) {
            return;
        }
        if requested.is_fresh {
            // With everything in it, or each refused push would leave one behind.
            let end = self.storage.end(requested.receipts, Ending::All);
            let _ = self.step_within(Step::Unsubscribe, end).await;
            return;
        }
        let ExpectReceipt {
            user_agent, nonce, ..
        } = requested.expected;
        let nothing = never_stored(requested.receipts, user_agent, nonce);
        // If this fails too, the receipt becomes overdue, and tracing finds that the message was never stored.
        let _ = self.settle(requested.receipts, &[nothing]).await;
    }

    async fn settle(&self, receipts: UserAgentId, ends: &[MessageEnd]) -> Result<(), StorageError> {
        let settle = self.storage.settle_receipts(receipts, ends);
        self.step_within(Step::Receipt, settle).await
    }

    /// Relays outboxes to receipt subscriptions, for as long as it is polled. Dropping it between steps loses nothing: at
    /// most it relays something twice, and the second time changes nothing.
    pub async fn keep_relaying(&self, outboxes: &Outboxes) {
        let mut look_at = Instant::now() + RECEIPT_POLL;
        loop {
            // Hints that came while others were relayed are taken at once.
            let _ = timeout_at(look_at, outboxes.wait()).await;
            // Also while hints never end: otherwise what a node left behind would wait for that end.
            if look_at <= Instant::now() {
                self.look_for_receipts(outboxes).await;
                look_at = Instant::now() + RECEIPT_POLL;
            }
            for some in outboxes.take().chunks(RECEIPT_RELAYS) {
                let relayed = join_all(some.iter().map(|user_agent| self.relay(*user_agent))).await;
                for (user_agent, relayed) in some.iter().zip(relayed) {
                    if relayed.is_err() {
                        outboxes.hint_later(*user_agent);
                    }
                }
            }
        }
    }

    /// Looks in storage for what no hint announced: outboxes that a node left behind, and overdue receipts. An error with
    /// one does not stop the others.
    pub(crate) async fn look_for_receipts(&self, outboxes: &Outboxes) {
        let waiting = self.step_within(Step::Receipt, self.storage.with_outbox(RECEIPT_STEP));
        for user_agent in waiting.await.unwrap_or_default() {
            outboxes.hint_later(user_agent);
        }
        for _ in 0..RECEIPT_ROUNDS {
            let overdue = self.step_within(Step::Receipt, self.storage.overdue(RECEIPT_STEP));
            let overdue = overdue.await.unwrap_or_default();
            self.settle_overdue(&overdue).await;
            if overdue.len() < RECEIPT_STEP {
                break;
            }
        }
    }

    /// Traces the messages of overdue receipts, and settles those that ended. The others are overdue again when their lease
    /// ends.
    async fn settle_overdue(&self, overdue: &[Overdue]) {
        for some in overdue.chunks(RECEIPT_RELAYS) {
            let traced = join_all(some.iter().map(|one| self.trace(one))).await;
            let mut by_subscription: BTreeMap<UserAgentId, Vec<MessageEnd>> = BTreeMap::new();
            for end in traced.into_iter().flatten() {
                by_subscription.entry(end.receipts).or_default().push(end);
            }
            let settled = by_subscription
                .iter()
                .map(|(receipts, ends)| self.settle(*receipts, ends));
            // An error is counted; its receipts are overdue again later.
            drop(join_all(settled).await);
        }
    }

    /// How a message ended; `None` while it waits, or while its storage is in trouble.
    async fn trace(&self, overdue: &Overdue) -> Option<MessageEnd> {
        let trace = self.storage.trace(overdue.user_agent, overdue.nonce);
        match self.step_within(Step::Receipt, trace).await.ok()? {
            Traced::Waiting => None,
            Traced::Ended(end) => Some(end),
            // It was never stored, so no receipt was promised to its sender.
            Traced::Nothing => Some(never_stored(overdue.receipts, overdue.user_agent, overdue.nonce)),
        }
    }

    /// Relays one outbox, a step at a time: entries are settled first and cleared then.
    async fn relay(&self, user_agent: UserAgentId) -> Result<(), StorageError> {
        loop {
            let waiting = self.storage.outbox(user_agent, RECEIPT_STEP);
            let ends = self.step_within(Step::Receipt, waiting).await?;
            if ends.is_empty() {
                return Ok(());
            }
            let mut by_subscription: BTreeMap<UserAgentId, Vec<MessageEnd>> = BTreeMap::new();
            for end in &ends {
                by_subscription.entry(end.receipts).or_default().push(*end);
            }
            for (receipts, ends) in by_subscription {
                self.settle(receipts, &ends).await?;
            }
            let ids: Vec<_> = ends.iter().map(|end| end.id).collect();
            let clear = self.storage.clear_outbox(user_agent, &ids);
            self.step_within(Step::Receipt, clear).await?;
        }
    }
}

/// The receipt subscription for a sender that names none. For a sender that has proved its key it is one for each subscription
/// and key, so that it costs one queue and not one for each push. A sender without a key gets a fresh one, because another
/// such sender must not see its receipts.
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

/// The end of a message that was never stored: its receipt is expected no more, as if the message had been replaced.
fn never_stored(receipts: UserAgentId, user_agent: UserAgentId, nonce: u64) -> MessageEnd {
    let number = MessageNumber::START;
    MessageEnd {
        receipts,
        user_agent,
        id: MessageId { number, nonce },
        how: ReceiptOutcome::Replaced,
    }
}

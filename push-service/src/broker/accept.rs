//! Accepting a push message: one step of storage, after which it is stored as promised.

use push_protocol::capability::{Dialect, MessageCapability, MessageKind, PushCapability};
use push_protocol::{Content, KeyDigest, MessageId, Topic, Ttl, Urgency};

use super::receipts::{ReceiptWish, RequestedReceipt};
use super::{Broker, PushResource, Refusal};
use crate::budgets::Payer;
use crate::defaults::COST_RECEIPT;
use crate::history::{self, StepKind};
use crate::metrics::{Accepted as How, Refused, Removed, Step};
use crate::random;
use crate::storage::{Enqueue, Enqueued, RemovalReason, SenderTag};

/// A push message, as its application server sent it.
#[derive(Clone, Debug)]
pub struct Submission {
    /// How long it may wait.
    pub ttl: Ttl,
    /// How urgent it is.
    pub urgency: Urgency,
    /// Its topic: it replaces the waiting message of the same topic.
    pub topic: Option<Topic>,
    /// Its body, and how that is encoded.
    pub content: Content,
    /// Which receipt subscription gets its receipt, if one was requested.
    pub receipt: Option<ReceiptWish>,
    /// Who pays for what the push costs beside the push itself.
    pub payer: Payer,
    /// The key that the application server has signed with (VAPID), if any.
    pub signed_by: Option<KeyDigest>,
}

/// A push message that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The token of its message resource.
    pub token: String,
    /// How long it will be kept: never longer than was asked for (R30-TTL-5).
    pub ttl: Ttl,
    /// The token of the receipt subscription that gets its receipt, if one was requested.
    pub receipts: Option<String>,
}

impl Broker {
    /// Stores a message, or passes it on if its TTL is 0. Call only for a sender that was admitted.
    ///
    /// A requested receipt is recorded before the message is stored (PR-25): one more step.
    ///
    /// Dropping the future loses the answer, not the message: it may have been stored (PR-2).
    pub async fn accept(&self, push: &PushResource, submission: Submission) -> Result<Accepted, Refusal> {
        let ttl = submission.ttl.clamp_to(self.policy.ttl);
        let nonce = random::u64();
        let requested = match &submission.receipt {
            None => None,
            Some(wish) => {
                let payer = submission.payer;
                self.pay_for_receipt(push, payer).await?;
                Some(self.request_receipt(push, wish, nonce, ttl, payer).await?)
            }
        };
        let accepted = self.store(push, submission, nonce, ttl, requested.as_ref()).await;
        if let (Err(refusal), Some(requested)) = (&accepted, &requested) {
            self.withdraw_receipt(requested, refusal).await;
        }
        let id = accepted?;
        let message = MessageCapability {
            user_agent: push.capability.user_agent,
            id,
            dialect: push.dialect,
        };
        let token = self
            .capabilities
            .seal_message(MessageKind::Message, push.sealed_by, &message);
        Ok(Accepted {
            token,
            ttl,
            receipts: requested.map(|requested| requested.token),
        })
    }

    /// Takes what a receipt costs before it is stored: the subscription's rate, which storage checks only with the
    /// message, and the address's tokens (PR-42).
    async fn pay_for_receipt(&self, push: &PushResource, payer: Payer) -> Result<(), Refusal> {
        let to = &push.capability;
        self.budgets
            .ask_for_receipt(to.user_agent, to.subscription)
            .map_err(|retry_after| Refusal::TooFast { retry_after })?;
        Ok(self.budgets.pay(payer, COST_RECEIPT).await?)
    }

    async fn store(
        &self,
        push: &PushResource,
        submission: Submission,
        nonce: u64,
        ttl: Ttl,
        requested: Option<&RequestedReceipt>,
    ) -> Result<MessageId, Refusal> {
        let enqueue = Enqueue {
            user_agent: push.capability.user_agent,
            subscription: push.capability.subscription,
            nonce,
            ttl,
            urgency: submission.urgency,
            topic: submission.topic,
            content: submission.content,
            // Stored for `/push` alone: its URL is made again for each message that is delivered (`push_token`).
            key: push.capability.key.filter(|_| push.dialect == Dialect::Rfc8030),
            sealed_by: push.sealed_by,
            receipts: requested.map(|requested| requested.receipts),
            sender: sender(submission.payer, submission.signed_by),
            caps: self.policy.caps,
            queue_limits: self.policy.queue_limits,
            rate: self.policy.rate,
        };
        // From before the step: a connected user agent may be offered the message before the step is answered.
        let accepted = history::Step::now(StepKind::Accepted {
            urgency: enqueue.urgency,
            ttl,
            bytes: u32::try_from(enqueue.content.body.len()).unwrap_or(u32::MAX),
        });
        let enqueued = self.step(Step::Enqueue, self.storage.enqueue(enqueue)).await?;
        let id = self.accepted_id(enqueued)?;
        let PushCapability {
            user_agent,
            subscription,
            ..
        } = &push.capability;
        self.history.record(user_agent, accepted.of(id).to(*subscription));
        if matches!(enqueued, Enqueued::Passed { seated: false, .. }) {
            let unheard = history::Step::now(StepKind::Removed(RemovalReason::Unheard));
            self.history.record(user_agent, unheard.of(id).to(*subscription));
        }
        Ok(id)
    }

    /// A push to this resource was refused, for this reason.
    pub(crate) fn note_refused(&self, push: &PushResource, why: Refused) {
        let to = &push.capability;
        let refused = history::Step::now(StepKind::Refused { why, times: 1 });
        self.history.record(&to.user_agent, refused.to(to.subscription));
    }

    /// Whether the subscription of a push resource may still exist: false only if a healthy store does not have it (PR-3).
    pub async fn may_have_subscription(&self, push: &PushResource) -> bool {
        let PushCapability {
            user_agent,
            subscription,
            ..
        } = push.capability;
        let has = self.has_subscription(user_agent, subscription).await;
        has.unwrap_or(true)
    }

    /// Counts an accepted message, and returns its id.
    fn accepted_id(&self, enqueued: Enqueued) -> Result<MessageId, Refusal> {
        match enqueued {
            Enqueued::Stored {
                id,
                replaced,
                evicted,
                expired,
            } => {
                self.metrics.accepted(How::Stored);
                self.metrics.removed(Removed::Replaced, replaced.into());
                self.metrics.removed(Removed::Evicted, evicted.into());
                self.metrics.removed(Removed::Expired, expired.into());
                Ok(id)
            }
            Enqueued::Passed { id, seated } => {
                self.metrics.accepted(How::Passed);
                self.metrics.removed(Removed::Unheard, (!seated).into());
                Ok(id)
            }
            Enqueued::NoSubscription => Err(Refusal::SubscriptionGone),
            Enqueued::RateLimited { retry_after } => Err(Refusal::TooFast { retry_after }),
            Enqueued::QueueFull => Err(Refusal::QueueFull),
            Enqueued::SenderFull => Err(Refusal::SenderFull),
            Enqueued::StoreFull => Err(Refusal::StoreFull),
        }
    }
}

/// The sender for which a message counts: its key or, without one, its address. Messages from `limits.unlimited_networks` have
/// none.
fn sender(payer: Payer, signed_by: Option<KeyDigest>) -> Option<SenderTag> {
    match signed_by {
        _ if payer == Payer::UNLIMITED => None,
        Some(key) => Some(SenderTag::of_key(key)),
        None => payer.address().map(SenderTag::of_address),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::budgets::Budgets;
    use crate::config::{IpNetwork, Limits};

    /// PR-42: a message counts for its key, or for its address: the same on every node with the same secret, and
    /// unreadable without it. Messages from unlimited networks, and from an unknown address, have no sender.
    #[test]
    fn a_message_counts_for_its_key_or_its_address() {
        let limits = Limits {
            unlimited_networks: vec![IpNetwork::parse("10.0.0.0/8").unwrap()],
            ..Limits::default()
        };
        let node = |secret| Budgets::new(&limits, Arc::default()).with_address_secret(Some([secret; 32]));
        let (one, other, elsewhere) = (node(1), node(1), node(2));
        let of = |node: &Budgets, address: &str, key| {
            let address: IpAddr = address.parse().unwrap();
            sender(node.payer(address), key)
        };
        let unsigned = of(&one, "192.0.2.1", None);
        assert!(unsigned.is_some());
        assert_eq!(of(&other, "192.0.2.1", None), unsigned);
        assert_eq!(of(&other, "::ffff:192.0.2.1", None), unsigned);
        assert_ne!(of(&one, "192.0.2.2", None), unsigned);
        assert_ne!(of(&elsewhere, "192.0.2.1", None), unsigned);
        let network = of(&one, "2001:db8:1:2::3", None);
        assert_eq!(of(&one, "2001:db8:1:2:ffff::", None), network);
        assert_ne!(of(&one, "2001:db8:1:3::3", None), network);
        let key = Some(KeyDigest([7; 32]));
        let signed = key.map(SenderTag::of_key);
        assert_eq!(of(&one, "192.0.2.1", key), signed);
        assert_eq!(of(&elsewhere, "2001:db8::1", key), signed);
        for key in [None, key] {
            assert_eq!(of(&one, "10.1.2.3", key), None);
        }
        assert_eq!(sender(Payer::UNKNOWN, None), None);
    }
}

//! Accepting a push message: one step of storage between a request and its 201.

use push_protocol::capability::{MessageCapability, MessageKind};
use push_protocol::{Content, MessageId, Topic, Ttl, Urgency};

use super::{Broker, PushResource, Refusal};
use crate::metrics::{Accepted as How, Removed, Step};
use crate::random;
use crate::storage::{Enqueue, Enqueued};

/// A push message, as its application server sent it.
#[derive(Clone, Debug)]
pub struct Submission {
    /// How long it may wait.
    pub ttl: Ttl,
    /// How urgent it is.
    pub urgency: Urgency,
    /// What it replaces.
    pub topic: Option<Topic>,
    /// What is in it.
    pub content: Content,
}

/// A push message that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The token of its message resource.
    pub token: String,
    /// How long it will be kept: never longer than was asked for (R30-TTL-5).
    pub ttl: Ttl,
}

impl Broker {
    /// Stores a message, or passes it on if its TTL is 0. For a sender that was admitted.
    ///
    /// Dropping the future loses the answer, not the message: it may have been stored (PR-2).
    pub async fn accept(&self, push: &PushResource, submission: Submission) -> Result<Accepted, Refusal> {
        let ttl = submission.ttl.clamp_to(self.policy.ttl);
        let sealed_by = self.capabilities.current();
        let enqueue = Enqueue {
            user_agent: push.capability.user_agent,
            subscription: push.capability.subscription,
            nonce: random::u64(),
            ttl,
            urgency: submission.urgency,
            topic: submission.topic,
            content: submission.content,
            key: None,
            sealed_by,
            receipts: None,
            budget: self.policy.budget,
            rate: self.policy.rate,
        };
        let enqueued = self.step(Step::Enqueue, self.storage.enqueue(enqueue)).await?;
        let id = self.accepted_id(enqueued)?;
        let message = MessageCapability {
            user_agent: push.capability.user_agent,
            id,
            dialect: push.dialect,
        };
        let token = self
            .capabilities
            .seal_message(MessageKind::Message, sealed_by, &message);
        Ok(Accepted { token, ttl })
    }

    /// Whether there is such a subscription: for telling a sender that it is gone rather than what else is wrong. A
    /// store in trouble knows of none that is gone (PR-3).
    pub async fn is_there(&self, push: &PushResource) -> bool {
        match self.storage.inspect(push.capability.user_agent).await {
            Ok(None) => false,
            Ok(Some(report)) => {
                let id = push.capability.subscription.to_string();
                report.subscriptions.iter().any(|known| known.id == id)
            }
            Err(_) => true,
        }
    }

    /// Counts what came of a message.
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
        }
    }
}

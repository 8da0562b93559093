//! What user agents and application servers monitor (RFC 8030 §6, §6.1, §6.3), and the tokens of the messages in it.

use push_protocol::capability::{Dialect, MessageCapability, MessageKind, PushCapability};
use push_protocol::{PushMessage, SubscriptionId, UserAgentId, UserAgentIdentity};

use super::{Broker, Refusal};
use crate::metrics::Step;
use crate::storage::{Ending, RECEIPTS, StorageError};

/// A resource that can be monitored: its token was sealed here. Only storage knows whether it still exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Monitored {
    /// The owner of the queue.
    pub user_agent: UserAgentId,
    /// One subscription of it, or all.
    pub subscription: Option<SubscriptionId>,
    /// What waits in the queue.
    pub queue: QueueKind,
}

/// What kind of messages wait in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueKind {
    /// Push messages, for a user agent.
    Messages,
    /// Receipts, for an application server.
    Receipts,
}

impl Broker {
    /// Opens the token of a subscription. Costs no storage.
    pub fn open_subscription(&self, token: &str) -> Result<Monitored, Refusal> {
        let opened = self.capabilities.open_subscription(token);
        let opened = opened.ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(Monitored {
            user_agent: opened.capability.user_agent,
            subscription: Some(opened.capability.subscription),
            queue: QueueKind::Messages,
        })
    }

    /// Opens the token of a subscription set: the identity of its user agent. Costs no storage.
    pub fn open_set(&self, token: &str) -> Result<UserAgentIdentity, Refusal> {
        let opened = self.capabilities.open_subscription_set(token);
        let opened = opened.ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(opened.capability)
    }

    /// Whether a healthy store has what is monitored.
    pub async fn is_known(&self, monitored: &Monitored) -> Result<bool, StorageError> {
        match (monitored.queue, monitored.subscription) {
            (QueueKind::Receipts, _) => self.has_subscription(monitored.user_agent, RECEIPTS).await,
            (QueueKind::Messages, Some(subscription)) => {
                self.has_subscription(monitored.user_agent, subscription).await
            }
            (QueueKind::Messages, None) => {
                let inspect = self.storage.inspect(monitored.user_agent);
                let report = self.step_within(Step::Inspect, inspect).await?;
                Ok(report.is_some())
            }
        }
    }

    /// Ends what is monitored, as durably as it was made (PR-1). A set ends with every subscription in it (R30-EXP-5).
    pub async fn end(&self, monitored: &Monitored) -> Result<(), Refusal> {
        if monitored.queue == QueueKind::Receipts {
            return self.end_receipts(monitored.user_agent).await;
        }
        let ending = monitored.subscription.map_or(Ending::All, Ending::One);
        let end = self.storage.end(monitored.user_agent, ending);
        if !self.step(Step::Unsubscribe, end).await? {
            return Err(Refusal::UnknownResource);
        }
        self.subscription_ended(monitored.user_agent, monitored.subscription);
        Ok(())
    }

    /// Whether a healthy store has this subscription.
    pub async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError> {
        let asked = self.storage.has_subscription(user_agent, subscription);
        self.step_within(Step::Inspect, asked).await
    }

    /// The token of a message for the user agent that receives it: it acknowledges (PR-26).
    pub fn promise_token(&self, user_agent: UserAgentId, message: &PushMessage) -> String {
        let capability = MessageCapability {
            user_agent,
            id: message.id,
            // Whatever dialect the application server spoke, a user agent's requests are RFC 8030's.
            dialect: Dialect::Rfc8030,
        };
        self.capabilities
            .seal_message(MessageKind::Promise, message.sealed_by, &capability)
    }

    /// The token of the push resource that a message was sent to, exactly as its user agent was given it.
    pub fn push_token(&self, user_agent: UserAgentId, message: &PushMessage) -> String {
        let capability = PushCapability {
            user_agent,
            subscription: message.subscription,
            key: message.key.as_deref().copied(),
        };
        self.capabilities
            .spell_push(message.sealed_by, &capability, message.name.0)
    }
}

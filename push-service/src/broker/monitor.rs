//! What user agents and application servers monitor (RFC 8030 §6, §6.1, §6.3), and how its messages are named to them.

use push_protocol::capability::{Dialect, MessageCapability, MessageKind, PushCapability, PushKind};
use push_protocol::{PushMessage, SubscriptionId, UserAgentId, UserAgentIdentity};

use super::{Broker, Refusal};
use crate::metrics::Step;
use crate::storage::{Ending, StorageError};

/// A resource that can be monitored: its token was sealed here. Whether it still exists, storage knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Monitored {
    /// In whose queue.
    pub user_agent: UserAgentId,
    /// One subscription of it, or all.
    pub subscription: Option<SubscriptionId>,
    /// What waits there.
    pub goods: Goods,
}

/// What waits in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goods {
    /// Push messages, for a user agent.
    Messages,
    /// Receipts, for an application server.
    Receipts,
}

impl Broker {
    /// The subscription that a token stands for. Costs no storage.
    pub fn open_subscription(&self, token: &str) -> Result<Monitored, Refusal> {
        let opened = self.capabilities.open_subscription(token);
        let opened = opened.ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(Monitored {
            user_agent: opened.capability.user_agent,
            subscription: Some(opened.capability.subscription),
            goods: Goods::Messages,
        })
    }

    /// The subscription set that a token stands for: its user agent's identity. Costs no storage.
    pub fn open_set(&self, token: &str) -> Result<UserAgentIdentity, Refusal> {
        let opened = self.capabilities.open_subscription_set(token);
        let opened = opened.ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(opened.capability)
    }

    /// Whether a healthy store knows what is monitored.
    pub async fn is_known(&self, monitored: &Monitored) -> Result<bool, StorageError> {
        match (monitored.goods, monitored.subscription) {
            (Goods::Receipts, _) => self.has_receipts(monitored.user_agent).await,
            (Goods::Messages, Some(subscription)) => {
                self.has_subscription(monitored.user_agent, subscription).await
            }
            (Goods::Messages, None) => {
                let inspect = self.storage.inspect(monitored.user_agent);
                let report = self.answered(Step::Inspect, inspect).await?;
                Ok(report.is_some())
            }
        }
    }

    /// Ends what is monitored, as durably as it was made (PR-1); a set with every subscription in it (R30-EXP-5).
    pub async fn end(&self, monitored: &Monitored) -> Result<(), Refusal> {
        if monitored.goods == Goods::Receipts {
            return self.end_receipts(monitored.user_agent).await;
        }
        let ending = monitored.subscription.map_or(Ending::All, Ending::One);
        let end = self.storage.end(monitored.user_agent, ending);
        if !self.step(Step::Unsubscribe, end).await? {
            return Err(Refusal::UnknownResource);
        }
        self.metrics.subscription_ended();
        Ok(())
    }

    /// Whether a healthy store knows this subscription.
    pub async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError> {
        let asked = self.storage.has_subscription(user_agent, subscription);
        self.answered(Step::Inspect, asked).await
    }

    /// The URL of a message for whoever receives it: DELETE acknowledges (PR-26).
    pub fn promise_url(&self, user_agent: UserAgentId, message: &PushMessage) -> String {
        let capability = MessageCapability {
            user_agent,
            id: message.id,
            // Whatever the application server spoke: a user agent's requests are all RFC 8030's.
            dialect: Dialect::Rfc8030,
        };
        let token = self
            .capabilities
            .seal_message(MessageKind::Promise, message.sealed_by, &capability);
        self.message_url(&token)
    }

    /// The push resource that a message was sent to, by the letter of the URL that its user agent was given.
    pub fn push_url_of(&self, user_agent: UserAgentId, message: &PushMessage) -> String {
        let capability = PushCapability {
            user_agent,
            subscription: message.subscription,
            key: message.key.as_deref().copied(),
        };
        let token = self
            .capabilities
            .spell_push(message.sealed_by, &capability, message.name.0);
        self.rfc_push_url(&token)
    }

    pub(super) fn message_url(&self, token: &str) -> String {
        [self.origin.as_str(), MESSAGE_PATH, token].concat()
    }

    pub(super) fn rfc_push_url(&self, token: &str) -> String {
        [self.origin.as_str(), PushKind::Push.path(), token].concat()
    }
}

/// What stands before the token of a message resource.
pub(crate) const MESSAGE_PATH: &str = "/message/";

//! What a resource's token names, for an operator who has its URL.

use push_protocol::capability::{MessageKind, PushKind};
use push_protocol::{MessageId, SubscriptionId, UserAgentId};

use super::Broker;

/// What a token names. Only storage knows whether it still exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// A push resource, or a subscription resource.
    Subscription {
        /// Whose it is.
        user_agent: UserAgentId,
        /// Which.
        subscription: SubscriptionId,
    },
    /// A subscription set: a user agent.
    UserAgent(UserAgentId),
    /// A message, as its sender or its user agent knows it.
    Message {
        /// In whose queue it is.
        user_agent: UserAgentId,
        /// Which.
        id: MessageId,
    },
    /// A receipt subscription.
    Receipts(UserAgentId),
}

impl Named {
    /// The owner of the queue.
    pub fn user_agent(self) -> UserAgentId {
        match self {
            Self::Subscription { user_agent, .. } | Self::Message { user_agent, .. } => user_agent,
            Self::UserAgent(user_agent) | Self::Receipts(user_agent) => user_agent,
        }
    }
}

/// None of these asks storage, or counts as a use of the token: `None` if it was not sealed here as this kind.
impl Broker {
    /// What the token of a push resource names.
    pub fn named_push(&self, kind: PushKind, token: &str) -> Option<Named> {
        let push = self.capabilities.open_push(kind, token)?.capability;
        Some(Named::Subscription {
            user_agent: push.user_agent,
            subscription: push.subscription,
        })
    }

    /// What the token of a message names.
    pub fn named_message(&self, token: &str) -> Option<Named> {
        let open = |kind| self.capabilities.open_message(kind, token);
        let message = open(MessageKind::Message).or_else(|| open(MessageKind::Promise))?;
        Some(Named::Message {
            user_agent: message.capability.user_agent,
            id: message.capability.id,
        })
    }

    /// What the token of a subscription names.
    pub fn named_subscription(&self, token: &str) -> Option<Named> {
        let of = self.capabilities.open_subscription(token)?.capability;
        Some(Named::Subscription {
            user_agent: of.user_agent,
            subscription: of.subscription,
        })
    }

    /// What the token of a subscription set names.
    pub fn named_set(&self, token: &str) -> Option<Named> {
        let identity = self.capabilities.open_subscription_set(token)?.capability;
        Some(Named::UserAgent(identity.id()))
    }

    /// What the token of a receipt subscription names.
    pub fn named_receipts(&self, token: &str) -> Option<Named> {
        let receipts = self.capabilities.open_receipts(token)?.capability;
        Some(Named::Receipts(receipts))
    }
}

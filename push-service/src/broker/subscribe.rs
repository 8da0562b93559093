//! A user agent's subscriptions: made, found again, ended.

use push_protocol::capability::{Dialect, PushCapability};
use push_protocol::vapid::PublicKey;
use push_protocol::{KeyDigest, SubscriptionId, SubscriptionName, UserAgentId};

use super::Broker;
use crate::metrics::{Refused, Step};
use crate::random;
use crate::storage::{Seat, StorageError, Subscribe, Subscribed};

/// A subscription that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Its id in storage.
    pub id: SubscriptionId,
    /// Its push resource, to be given to the application server.
    pub push_url: String,
}

/// Why there is no subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SubscribeRefusal {
    /// The user agent asked for what can't be had; a sentence that helps it.
    Refused(&'static str),
    /// Storage has trouble. The subscription may have been made: asking again finds it.
    Trouble,
}

impl Broker {
    /// Makes the subscription of that name, or finds it: its old push URLs go on working, and another key gives another
    /// URL (PR-9). Durable when it resolves (PR-1). `key` is as the user agent spelled it (WS-REG-3).
    pub async fn subscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
        key: Option<&str>,
        seat: Option<Seat>,
    ) -> Result<Subscription, SubscribeRefusal> {
        let key = key.map(parse_key).transpose()?;
        let subscribe = Subscribe {
            user_agent,
            name,
            fresh_id: SubscriptionId(random::bytes()),
            key,
            seat,
            limit: self.policy.subscriptions_per_user_agent,
            only_known: false,
        };
        let id = match self
            .answered(Step::Subscribe, self.storage.subscribe(subscribe))
            .await
        {
            Ok(Subscribed::Created(id)) => {
                self.metrics.subscription_created();
                id
            }
            Ok(Subscribed::Kept(id)) => id,
            Ok(Subscribed::UnknownUserAgent) => {
                return Err(SubscribeRefusal::Refused("there is no such subscription set"));
            }
            Ok(Subscribed::TooMany) => {
                self.metrics.refused(Refused::TooManySubscriptions);
                return Err(SubscribeRefusal::Refused(
                    "this user agent has as many subscriptions as it may",
                ));
            }
            Err(_) => return Err(SubscribeRefusal::Trouble),
        };
        Ok(Subscription {
            id,
            push_url: self.push_url(user_agent, id, key),
        })
    }

    /// Ends the subscription of that name, and says whether there was one. Durable when it resolves (PR-1).
    pub async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<bool, StorageError> {
        let ended = self
            .answered(Step::Unsubscribe, self.storage.unsubscribe(user_agent, name))
            .await?
            .is_some();
        if ended {
            self.metrics.subscription_ended();
        }
        Ok(ended)
    }

    /// The push resource of a WebSocket's subscription (WS-REG-4).
    fn push_url(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
        key: Option<KeyDigest>,
    ) -> String {
        let capability = PushCapability {
            user_agent,
            subscription,
            key,
        };
        let sealed = self
            .capabilities
            .seal_push(Dialect::Webpush, &capability, random::bytes());
        format!("{}{}{}", self.origin, sealed.kind.path(), sealed.token)
    }
}

fn parse_key(text: &str) -> Result<KeyDigest, SubscribeRefusal> {
    let key = PublicKey::parse(text).ok_or(SubscribeRefusal::Refused(
        "key must be an uncompressed P-256 public key of 65 bytes, in base64url",
    ))?;
    Ok(key.digest())
}

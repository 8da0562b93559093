//! Subscriptions of a user agent: they are made, found again and ended.

use push_protocol::capability::{Dialect, PushCapability, SealedPush, SubscriptionCapability};
use push_protocol::vapid::PublicKey;
use push_protocol::{KeyDigest, SubscriptionId, SubscriptionName, UserAgentId, UserAgentIdentity};

use super::{Broker, Refusal};
use crate::budgets::Payer;
use crate::history::{self, StepKind};
use crate::metrics::{Refused, Step};
use crate::random;
use crate::storage::{Seat, StorageError, Subscribe, Subscribed};

/// The tokens of the resources that a user agent is given with a subscription (RFC 8030 §4, §4.1).
#[derive(Clone)]
pub struct SubscriptionTokens {
    /// Of the subscription resource.
    pub subscription: String,
    /// Of the push resource.
    pub push: String,
    /// Of the subscription set, if it is a new one.
    pub fresh_set: Option<String>,
}

/// Why there is no subscription. `resources/subscribe.rs` has the sentence of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubscribeRefusal {
    /// The key is not a P-256 public key in base64url.
    MalformedKey,
    /// The user agent has as many subscriptions as it may (`limits.subscriptions_per_user_agent`).
    TooManySubscriptions,
    /// Too many subscriptions are made from its address (PR-42).
    TooManyRecords,
    /// Storage is in trouble. The subscription may have been made: then asking again finds it.
    StorageUnavailable,
}

impl Broker {
    /// Makes the subscription of that name, or finds it, and returns a push resource of it. Its older push resources go on
    /// working, and another key gives another one (PR-9). Durable when it resolves (PR-1). `key` is the text that the user
    /// agent sent (WS-REG-3).
    pub async fn subscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
        key: Option<&str>,
        seat: Option<Seat>,
        payer: Payer,
    ) -> Result<SealedPush, SubscribeRefusal> {
        let key = key.map(parse_key).transpose()?;
        // If the budget is spent, a known subscription is still found, and no new one is made.
        let may_make = self.budgets.make_record(payer).is_ok();
        let subscribe = Subscribe {
            user_agent,
            name,
            fresh_id: SubscriptionId(random::bytes()),
            key,
            seat,
            limit: if may_make {
                self.policy.subscriptions_per_user_agent
            } else {
                0
            },
            only_known: false,
        };
        let id = match self
            .step_within(Step::Subscribe, self.storage.subscribe(subscribe))
            .await
        {
            Ok(Subscribed::Created(id)) => {
                self.subscription_created(user_agent, id);
                id
            }
            Ok(Subscribed::Kept(id)) => {
                if may_make {
                    self.budgets.unmake_record(payer);
                }
                id
            }
            Ok(Subscribed::TooMany) if !may_make => {
                self.metrics.refused(Refused::RecordsBudget);
                return Err(SubscribeRefusal::TooManyRecords);
            }
            Ok(Subscribed::TooMany) => {
                self.budgets.unmake_record(payer);
                self.metrics.refused(Refused::TooManySubscriptions);
                return Err(SubscribeRefusal::TooManySubscriptions);
            }
            // `UnknownUserAgent` is an answer only to `only_known`.
            Ok(Subscribed::UnknownUserAgent) | Err(_) => return Err(SubscribeRefusal::StorageUnavailable),
        };
        Ok(self.seal_push(user_agent, id, key))
    }

    /// Makes a subscription in a set, or in a set of its own (R30-SET-1 to R30-SET-4). Durable when it resolves (PR-1).
    ///
    /// Its name is drawn here and is also the visible part of its push token, so the same token can be made again for each
    /// message.
    pub async fn subscribe_resource(
        &self,
        set: Option<&UserAgentIdentity>,
        key: Option<KeyDigest>,
        payer: Payer,
    ) -> Result<SubscriptionTokens, Refusal> {
        self.budgets.make_record(payer)?;
        let fresh = UserAgentIdentity::from_random(random::bytes());
        let user_agent = set.unwrap_or(&fresh).id();
        let visible = random::bytes();
        let capability = PushCapability {
            user_agent,
            subscription: SubscriptionId(random::bytes()),
            key,
        };
        let subscribe = Subscribe {
            user_agent,
            name: SubscriptionName(visible),
            fresh_id: capability.subscription,
            key,
            seat: None,
            limit: self.policy.subscriptions_per_user_agent,
            only_known: set.is_some(),
        };
        match self
            .step(Step::Subscribe, self.storage.subscribe(subscribe))
            .await?
        {
            Subscribed::Created(_) | Subscribed::Kept(_) => {}
            refused => {
                self.budgets.unmake_record(payer);
                return Err(match refused {
                    Subscribed::TooMany => Refusal::TooManySubscriptions,
                    _ => Refusal::UnknownSet,
                });
            }
        }
        self.subscription_created(user_agent, capability.subscription);
        let monitored = SubscriptionCapability {
            user_agent,
            subscription: capability.subscription,
        };
        let sealed = &self.capabilities;
        let seal_set = || sealed.seal_subscription_set(&fresh, random::bytes());
        Ok(SubscriptionTokens {
            subscription: sealed.seal_subscription(&monitored, random::bytes()),
            // The name has the visible bits of this token, so `push_token` can spell the same token for each message.
            push: sealed.spell_push(sealed.current(), &capability, visible),
            fresh_set: set.is_none().then(seal_set),
        })
    }

    /// Ends the subscription of that name, and returns whether there was one. Durable when it resolves (PR-1).
    pub async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<bool, StorageError> {
        let ended = self
            .step_within(Step::Unsubscribe, self.storage.unsubscribe(user_agent, name))
            .await?;
        if let Some(id) = ended {
            self.subscription_ended(user_agent, Some(id));
        }
        Ok(ended.is_some())
    }

    fn subscription_created(&self, user_agent: UserAgentId, id: SubscriptionId) {
        self.metrics.subscription_created();
        let subscribed = history::Step::now(StepKind::Subscribed).to(id);
        self.history.record(&user_agent, subscribed);
    }

    /// This subscription ended, or with `None` all of the user agent's.
    pub(super) fn subscription_ended(&self, user_agent: UserAgentId, id: Option<SubscriptionId>) {
        self.metrics.subscription_ended();
        let ended = history::Step::now(StepKind::Unsubscribed);
        let ended = id.map_or(ended, |id| ended.to(id));
        self.history.record(&user_agent, ended);
    }

    /// The push resource of a WebSocket's subscription (WS-REG-4).
    fn seal_push(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
        key: Option<KeyDigest>,
    ) -> SealedPush {
        let capability = PushCapability {
            user_agent,
            subscription,
            key,
        };
        self.capabilities
            .seal_push(Dialect::Webpush, &capability, random::bytes())
    }
}

fn parse_key(text: &str) -> Result<KeyDigest, SubscribeRefusal> {
    let key = PublicKey::parse(text).ok_or(SubscribeRefusal::MalformedKey)?;
    Ok(key.digest())
}

//! Who may send to a push resource: checks its token, and the sender's VAPID credentials (RFC 8292 §4).

use push_protocol::KeyDigest;
use push_protocol::capability::{Dialect, KeyId, PushCapability, PushKind};
use push_protocol::vapid::{Credentials, VapidError};
use subtle::ConstantTimeEq as _;

use super::{Broker, Refusal};
use crate::budgets::Payer;
use crate::defaults::{COST_FORGERY, COST_PUSH, COST_VERIFICATION};
use crate::metrics::Cache;

/// A push resource whose token was sealed here. Only storage knows whether its subscription still exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushResource {
    /// What its token allows.
    pub(super) capability: PushCapability,
    /// Whose status codes its senders get.
    pub(super) dialect: Dialect,
    /// The sealing key of its token. The tokens of its messages are sealed with the same key.
    pub(super) sealed_by: KeyId,
}

impl Broker {
    /// Opens the token of a push resource. Costs no storage.
    pub fn open_push(&self, kind: PushKind, token: &str) -> Result<PushResource, Refusal> {
        let opened = self
            .capabilities
            .open_push(kind, token)
            .ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(PushResource {
            capability: opened.capability,
            sealed_by: self.capabilities.id_of(opened.key),
            dialect: match kind {
                PushKind::Push => Dialect::Rfc8030,
                PushKind::WpushV1 | PushKind::WpushV2 => Dialect::Webpush,
            },
        })
    }

    /// Accepts a sender that may send here, and returns the key that it has proved to own. Needs no storage, and at
    /// most one signature verification, for which `payer` pays first.
    pub async fn admit(
        &self,
        push: &PushResource,
        credentials: Option<&Credentials<'_>>,
        payer: Payer,
        now_secs: u64,
    ) -> Result<Option<KeyDigest>, Refusal> {
        let Some(credentials) = credentials else {
            return self.admit_unknown(push).map(|()| None);
        };
        let cache_key = credentials.cache_key();
        let sender = match self.verified.find(&cache_key, now_secs) {
            Some(known) => {
                self.metrics.vapid_cache(Cache::Hit);
                let sender = known?;
                self.may_send(push, sender)?;
                sender
            }
            None => {
                self.metrics.vapid_cache(Cache::Miss);
                // A key that may not send here is refused without verifying the signature.
                self.may_send(push, credentials.key.digest())?;
                self.budgets.pay(payer, COST_FORGERY).await?;
                let verified = self.verified.verify(credentials, cache_key, payer, now_secs);
                if !matches!(verified, Err(VapidError::BadSignature)) {
                    self.budgets.refund(payer, COST_FORGERY - COST_VERIFICATION);
                }
                verified?
            }
        };
        self.budgets.pay_as_sender(payer, sender, COST_PUSH).await?;
        self.ranking.count(sender.into());
        Ok(Some(sender))
    }

    /// Whether an application server with this key may send here.
    fn may_send(&self, push: &PushResource, sender: KeyDigest) -> Result<(), Refusal> {
        if push.capability.key.is_some_and(|owner| !is_same(owner, sender)) {
            return Err(Refusal::OtherApplicationServer);
        }
        let listed = &self.policy.application_servers;
        if !listed.is_empty() && !listed.contains(&sender) {
            return Err(Refusal::ApplicationServerNotListed);
        }
        self.refused_by_operator(sender.into())
    }

    fn admit_unknown(&self, push: &PushResource) -> Result<(), Refusal> {
        let policy = &self.policy;
        if push.capability.key.is_some() || policy.require_vapid || !policy.application_servers.is_empty() {
            return Err(Refusal::CredentialsMissing);
        }
        Ok(())
    }
}

fn is_same(one: KeyDigest, other: KeyDigest) -> bool {
    one.0.ct_eq(&other.0).into()
}

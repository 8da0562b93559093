//! What the log says of refusals: for each reason a line, seldom, with the settings to look at.
//!
//! A refusal is counted, and its peer is told. But an operator who does not look at metrics would not learn that a limit is
//! reached, or that it is reached because a proxy in front is not trusted.

use std::sync::OnceLock;

use super::labels::{Label, Refused};
use crate::defaults::REFUSAL_LINE_EVERY;
use crate::logging::Seldom;

/// The lines, one for each reason.
pub(super) struct RefusalLines {
    lines: Box<[Seldom]>,
    trusts_no_proxy: OnceLock<()>,
}

impl Default for RefusalLines {
    fn default() -> Self {
        let line = |_: &Refused| Seldom::every(REFUSAL_LINE_EVERY);
        Self {
            lines: Refused::ALL.iter().map(line).collect(),
            trusts_no_proxy: OnceLock::new(),
        }
    }
}

impl RefusalLines {
    /// No proxy is trusted: each connection counts for the address that it comes from.
    pub(super) fn trusts_no_proxy(&self) {
        // Set once, at the start.
        let _ = self.trusts_no_proxy.set(());
    }

    /// A request was refused.
    pub(super) fn refused(&self, why: Refused) {
        let Some(before) = self.lines[why.index()].due() else {
            return;
        };
        let (sentence, settings) = explained(why);
        let hint = if is_by_address(why) && self.trusts_no_proxy.get().is_some() {
            "; listen.trusted_proxies is empty: if a proxy is in front, all its peers count as one address, so name the proxy \
             there"
        } else {
            ""
        };
        tracing::info!(
            reason = why.as_str(),
            refused = before + 1,
            settings,
            "refused: {sentence}{hint}"
        );
    }
}

/// Whether a limit of one address may be the reason.
fn is_by_address(why: Refused) -> bool {
    matches!(
        why,
        Refused::TooManyConnections | Refused::AddressBudget | Refused::RecordsBudget | Refused::SenderFull
    )
}

/// What the reason means, and the settings that decide it.
#[rustfmt::skip]
pub fn explained(why: Refused) -> (&'static str, Option<&'static str>) {
    match why {
        Refused::NoSubscription => ("pushes to subscriptions that have ended; their senders are told to forget them", None),
        Refused::BadToken => ("requests to URLs that no key in security.sealing_keys has sealed: wrong ones, or of a key that was \
            removed", Some("security.sealing_keys")),
        Refused::Vapid => ("pushes without a valid VAPID signature, or by an application server that may not send there",
            Some("public_url, security.require_vapid, security.application_servers")),
        Refused::Ttl => ("pushes with a missing or malformed TTL", None),
        Refused::Topic => ("pushes with a malformed Topic", None),
        Refused::Urgency => ("pushes with a malformed Urgency", None),
        Refused::Encryption => ("pushes with wrong header fields of their encryption", None),
        Refused::TooLarge => ("bodies that are too large", Some("limits.body_bytes")),
        Refused::TooSlow => ("bodies that did not arrive in time", Some("limits.body_within")),
        Refused::RateLimited => ("a subscription gets more messages than its rate allows",
            Some("limits.pushes_per_second, limits.pushes_burst")),
        Refused::QueueFull => ("the queue of a user agent is full", Some("limits.queue_messages, limits.queue_bytes")),
        Refused::SenderFull => ("too many bytes of one sender wait", Some("limits.sender_bytes")),
        Refused::SenderRefused => ("an operator refuses the sender's key for a while; GET /senders on the admin listener lists them", None),
        Refused::StoreFull => ("the store is almost full", Some("limits.store_bytes")),
        Refused::TooManySubscriptions => ("a user agent has as many subscriptions as it may",
            Some("limits.subscriptions_per_user_agent")),
        Refused::TooManyConnections => ("too many connections are open, of all or of one address",
            Some("limits.connections, limits.connections_per_address")),
        Refused::AddressBudget => ("an address has caused more work than it may",
            Some("limits.work_per_address, limits.work_per_address_burst, limits.unlimited_networks")),
        Refused::SenderBudget => ("an application server key has caused more work than it may",
            Some("limits.work_per_sender, limits.work_per_sender_burst")),
        Refused::RecordsBudget => ("an address has made more subscriptions than it may",
            Some("limits.records_per_address, limits.records_per_address_burst, limits.unlimited_networks")),
        Refused::Forbidden => ("requests without the secret of user agents", Some("security.user_agent_secret")),
        Refused::StorageUnavailable => ("storage is in trouble", Some("storage.url")),
        Refused::StorageFull => ("the storage has only its reserve left", Some("storage.url")),
        Refused::Malformed => ("requests that are malformed", None),
    }
}

//! What the admin API and gauges show of a store: no content, no topic, no secret.

use push_protocol::{MessageId, SubscriptionId, Urgency, UserAgentId};

use super::Cursor;
use super::retention::Retention;
use crate::defaults::{RECEIPT_SUBSCRIPTION_KEPT, RETENTION_GRAINS};

/// What the admin API shows of a user agent. No content, no topic, no secret.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct UserAgentReport {
    /// Messages that wait.
    pub messages: u32,
    /// Bytes that count against the limits of the queue.
    pub bytes: u64,
    /// The number of the last message accepted.
    pub last_number: u64,
    /// Whether a session of this process or another holds the seat.
    pub seated: bool,
    /// Whether no push was accepted for it and it never came back: such a record is kept for a short time only (PR-29).
    pub unused: bool,
    /// Seconds until an abandoned record vanishes (PR-29).
    pub retained_for_secs: u64,
    /// As [`UserAgentSummary::last_seen_ms`], in seconds.
    pub last_seen: u64,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionReport>,
}

/// What the admin API shows of a subscription.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct SubscriptionReport {
    /// Its id, in hexadecimal.
    pub id: String,
    /// The user agent's name for it.
    pub name: String,
    /// Whether it is restricted to one application server.
    pub restricted: bool,
    /// Messages that wait.
    pub messages: u32,
    /// Bytes that count against the limits of the queue.
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

/// One user agent in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserAgentSummary {
    /// Its id.
    pub user_agent: UserAgentId,
    /// Messages that wait; expired ones count until they are swept.
    pub messages: u32,
    /// Bytes that count against the budget.
    pub bytes: u64,
    /// When it was there, in milliseconds since 1970: now, if a session holds the seat. Otherwise it was there at this time, and
    /// may have come again within a [grain](crate::defaults::RETENTION_GRAINS) of the retention. A first push counts too.
    pub last_seen_ms: u64,
    /// Whether a session of this process or another holds the seat.
    pub seated: bool,
    /// Whether it is a receipt subscription: an application server monitors it, and its messages are receipts.
    pub receipts: bool,
}

/// The answer of [`Storage::list`](super::Storage::list).
#[derive(Clone, Default, Debug)]
pub struct Listed {
    /// User agents with a record.
    pub user_agents: Vec<UserAgentSummary>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// Which of a user agent's waiting messages are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// At most so many: the least urgent first, and of equal urgency the oldest.
    First(usize),
    /// This one.
    One(MessageId),
}

/// A message that waits: no content, no topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitingMessage {
    /// Its id.
    pub id: MessageId,
    /// Its subscription.
    pub subscription: SubscriptionId,
    /// Its urgency.
    pub urgency: Urgency,
    /// Bytes that count against the budget.
    pub bytes: u64,
    /// When its time is over, in milliseconds since 1970.
    pub expires_at_ms: u64,
    /// Whether a newer message may replace it.
    pub has_topic: bool,
}

/// When a user agent was there, as its retention tells: it was renewed then ([`UserAgentSummary::last_seen_ms`]).
#[derive(Clone, Copy)]
pub(super) struct LastSeen {
    pub(super) retained_until_ms: u64,
    pub(super) unused: bool,
    pub(super) seated: bool,
    pub(super) receipts: bool,
}

impl LastSeen {
    pub(super) fn ms(self, retention: Retention, now_ms: u64) -> u64 {
        if self.seated {
            return now_ms;
        }
        let kept = retention.of(self.unused);
        let kept = if self.receipts {
            kept.min(RECEIPT_SUBSCRIPTION_KEPT)
        } else {
            kept
        };
        let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        let renewed_ms = self
            .retained_until_ms
            .saturating_sub(kept_ms)
            .saturating_sub(kept_ms / RETENTION_GRAINS);
        // Receipts that are expected later keep a receipt subscription for longer.
        renewed_ms.min(now_ms)
    }
}

/// What the store holds, for gauges. May lag by a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Messages that wait, expired ones included until they are swept.
    pub messages: u64,
    /// Bytes that count against the limits of queues.
    pub bytes: u64,
    /// User agents with a record.
    pub user_agents: u64,
}

/// A difference of [`Usage`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct UsageChange {
    pub(super) messages: i64,
    pub(super) bytes: i64,
    pub(super) user_agents: i64,
}

impl Usage {
    pub(super) fn change(&mut self, by: UsageChange) {
        self.messages = self.messages.saturating_add_signed(by.messages);
        self.bytes = self.bytes.saturating_add_signed(by.bytes);
        self.user_agents = self.user_agents.saturating_add_signed(by.user_agents);
    }
}

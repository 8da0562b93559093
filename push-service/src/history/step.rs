//! A step: what happened, when, and to which message of which subscription.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use push_protocol::identifiers::parse_16_hex_digits;
use push_protocol::{MessageId, SubscriptionId, Ttl, Urgency, UserAgentId};

use crate::metrics::{ChannelKind, Closed, Label as _, Refused};
use crate::storage::RemovalReason;

/// A message, as the log and `inspect` name it: the random half of its id, in 16 hexadecimal digits. Not a secret: it opens
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageNonce(pub u64);

impl MessageNonce {
    /// Reads 16 hexadecimal digits, as printed by `Display`.
    pub fn parse(text: &str) -> Option<Self> {
        parse_16_hex_digits(text).map(Self)
    }
}

impl From<MessageId> for MessageNonce {
    fn from(id: MessageId) -> Self {
        Self(id.nonce)
    }
}

impl fmt::Display for MessageNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What happened to a user agent, a subscription or a message, on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// When, in microseconds since 1970, by this machine's clock.
    pub at_us: u64,
    /// What happened.
    pub kind: StepKind,
    /// The message, if it happened to one.
    pub message: Option<MessageNonce>,
    /// The subscription, if it is known.
    pub subscription: Option<SubscriptionId>,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepKind {
    /// The subscription was made.
    Subscribed,
    /// Its user agent or an operator ended the subscription. If the step names no subscription, all of the user agent's ended.
    Unsubscribed,
    /// A push message was answered 201 or 202. With TTL 0 it was passed on and not stored.
    Accepted {
        /// Its urgency.
        urgency: Urgency,
        /// How long it may wait: the TTL that was answered.
        ttl: Ttl,
        /// Bytes of its body.
        bytes: u32,
    },
    /// Pushes to the subscription were refused, for one reason and one after the other.
    Refused {
        /// Why.
        why: Refused,
        /// How many: so refusals do not displace what was remembered before them.
        times: u32,
    },
    /// The message was written to a channel, for the first time or again.
    Offered(ChannelKind),
    /// The user agent acknowledged the message.
    Acknowledged,
    /// The message left without an acknowledgement.
    Removed(RemovalReason),
    /// The user agent has a channel, and gets what waits.
    Attached(ChannelKind),
    /// Its channel ended.
    Left(Closed),
}

impl StepKind {
    /// Its name, as the log and `inspect` show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Offered(_) => "offered",
            Self::Acknowledged => "acknowledged",
            Self::Removed(_) => "removed",
            Self::Attached(_) => "attached",
            Self::Left(_) => "left",
        }
    }

    /// Why it happened, if the kind does not say it: of a refusal, a removal, or the end of a channel.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Refused { why, .. } => Some(why.as_str()),
            Self::Removed(why) => Some(why.as_str()),
            Self::Left(why) => Some(why.as_str()),
            _ => None,
        }
    }

    /// The kind of channel on which it happened, if it happened on one.
    pub fn channel(self) -> Option<&'static str> {
        match self {
            Self::Offered(kind) | Self::Attached(kind) => Some(kind.as_str()),
            _ => None,
        }
    }

    /// What the step says to a person.
    fn sentence(self) -> &'static str {
        match self {
            Self::Subscribed => "a subscription was made",
            Self::Unsubscribed => "a subscription ended",
            Self::Accepted { .. } => "a message was accepted",
            Self::Refused { .. } => "a push was refused",
            Self::Offered(_) => "a message was offered to its user agent",
            Self::Acknowledged => "a message was acknowledged",
            Self::Removed(_) => "a message was removed without an acknowledgement",
            Self::Attached(_) => "a user agent has a channel",
            Self::Left(_) => "a user agent's channel ended",
        }
    }
}

impl Step {
    /// A step that happens now.
    pub fn now(kind: StepKind) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            at_us: since_1970.map_or(0, |passed| passed.as_micros() as u64),
            kind,
            message: None,
            subscription: None,
        }
    }

    /// It happened to this message.
    #[must_use]
    pub fn of(self, message: impl Into<MessageNonce>) -> Self {
        Self {
            message: Some(message.into()),
            ..self
        }
    }

    /// It happened to this subscription.
    #[must_use]
    pub fn to(self, subscription: SubscriptionId) -> Self {
        Self {
            subscription: Some(subscription),
            ..self
        }
    }

    /// Writes the line of the log, at the level debug.
    pub(super) fn log(&self, user_agent: &UserAgentId) {
        let (urgency, ttl, bytes) = match self.kind {
            StepKind::Accepted { urgency, ttl, bytes } => {
                (Some(urgency.as_str()), Some(ttl.as_secs()), Some(bytes))
            }
            _ => (None, None, None),
        };
        tracing::debug!(
            event = self.kind.as_str(),
            user_agent = %user_agent,
            subscription = self.subscription.map(display),
            message_id = self.message.map(display),
            channel = self.kind.channel(),
            reason = self.kind.reason(),
            urgency,
            ttl_secs = ttl,
            bytes,
            "{}",
            self.kind.sentence()
        );
    }
}

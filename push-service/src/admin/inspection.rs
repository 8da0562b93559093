//! What `inspect` shows of a URL or an id: the answer of one node, and how a person reads the answers of several.
//!
//! Each node knows its own steps, and all nodes of a service know the same storage. So the answers are merged: what storage knows
//! from the first, the steps of all by time, and the state of a message from both.

use std::fmt::{self, Write as _};
use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

use crate::history::{Step, StepKind};
use crate::storage::{UserAgentReport, WaitingMessage};

/// The answer of a node, or of several.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Inspection {
    /// What the URL or the id names.
    pub kind: InspectedKind,
    /// The user agent.
    pub user_agent: String,
    /// The subscription, if it names one or a message of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// The message, if it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The state of the message, if it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// Whether the message waits, as storage says. Absent if no message is named, or if storage was not asked for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<bool>,
    /// What its receipt state says of the message, if a receipt was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<MessageState>,
    /// Whether the subscription exists. Absent if no subscription is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribed: Option<bool>,
    /// What storage knows of the user agent; `None` if it never subscribed, or has ended.
    pub report: Option<UserAgentReport>,
    /// Of the first [`WAITING_STEP`](crate::defaults::WAITING_STEP) messages that wait for the user agent, those that are asked for.
    pub waiting: Vec<ShownMessage>,
    /// The steps that are remembered, the oldest first.
    pub steps: Vec<ShownStep>,
    /// The nodes that answered, if more than one was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// What a URL or an id names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InspectedKind {
    /// A user agent, or its subscription set.
    UserAgent,
    /// A subscription, or its push resource.
    Subscription,
    /// A message.
    Message,
    /// A receipt subscription.
    Receipts,
}

/// Whether a message waits, or how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// It waits, and no node that answered has offered it.
    Waiting,
    /// It was offered, and waits for the acknowledgement.
    Offered,
    /// Its user agent has it.
    Acknowledged,
    /// Its time to live was over.
    Expired,
    /// A newer message of its topic came.
    Replaced,
    /// The queue was full, and the eviction rule chose it.
    Evicted,
    /// Its sender took it back.
    Cancelled,
    /// Its subscription ended.
    SubscriptionEnded,
    /// An operator emptied the queue.
    Emptied,
    /// TTL 0, and no user agent took it.
    Unheard,
    /// TTL 0: it was offered, and is not stored.
    Passed,
    /// It ended without an acknowledgement, as its receipt says. Why is no longer known.
    GivenUp,
    /// It does not wait, and no node that answered remembers why.
    Gone,
    /// Nothing is known of it.
    Unknown,
}

impl MessageState {
    fn sentence(self) -> &'static str {
        match self {
            Self::Waiting => "it waits; no node that answered has offered it",
            Self::Offered => "it was offered and waits for the acknowledgement",
            Self::Acknowledged => "its user agent acknowledged it",
            Self::Expired => "its time to live was over",
            Self::Replaced => "a newer message of its topic replaced it",
            Self::Evicted => "the queue was full, and the eviction rule chose it",
            Self::Cancelled => "its sender took it back",
            Self::SubscriptionEnded => "its subscription ended",
            Self::Emptied => "an operator emptied the queue",
            Self::Unheard => "its TTL was 0, and no user agent took it",
            Self::Passed => "its TTL was 0: it was offered once and not stored",
            Self::GivenUp => "it ended without an acknowledgement; why is no longer known",
            Self::Gone => "it does not wait, and no node that answered remembers why",
            Self::Unknown => "nothing is known of it",
        }
    }

    /// Of a step that removes a message, by its reason.
    fn of_reason(reason: &str) -> Option<Self> {
        Some(match reason {
            "expired" => Self::Expired,
            "replaced" => Self::Replaced,
            "evicted" => Self::Evicted,
            "cancelled" => Self::Cancelled,
            "subscription_ended" => Self::SubscriptionEnded,
            "emptied" => Self::Emptied,
            "unheard" => Self::Unheard,
            _ => return None,
        })
    }
}

/// A message that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShownMessage {
    /// As the log names it.
    pub message: String,
    /// Its subscription.
    pub subscription: String,
    /// Its urgency.
    pub urgency: String,
    /// Bytes that count towards the limit of the queue: its body and what is added for each message.
    pub bytes: u64,
    /// When it was accepted.
    pub accepted: String,
    /// When it expires.
    pub expires: String,
    /// Whether a newer message may replace it.
    pub has_topic: bool,
}

impl ShownMessage {
    pub(super) fn of(message: &WaitingMessage) -> Self {
        Self {
            message: crate::history::MessageNonce::from(message.id).to_string(),
            subscription: message.subscription.to_string(),
            urgency: message.urgency.as_str().to_owned(),
            bytes: message.bytes,
            accepted: time(message.id.number.0 / 1_000),
            expires: time(message.expires_at_ms),
            has_topic: message.has_topic,
        }
    }
}

/// A step, as the log has it at the level debug.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShownStep {
    /// When, by the clock of its node.
    pub at: String,
    /// The same in microseconds since 1970.
    pub at_us: u64,
    /// What happened.
    pub event: String,
    /// To which subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// To which message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// On which kind of channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often, if more than once in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The urgency of an accepted message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<String>,
    /// How long it might wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
    /// Bytes of its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// On which node, if more than one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl ShownStep {
    pub(super) fn of(step: &Step) -> Self {
        let times = match step.kind {
            StepKind::Refused { times, .. } => Some(times).filter(|times| *times > 1),
            _ => None,
        };
        let (urgency, ttl_secs, bytes) = match step.kind {
            StepKind::Accepted { urgency, ttl, bytes } => (
                Some(urgency.as_str().to_owned()),
                Some(u64::from(ttl.as_secs())),
                Some(bytes),
            ),
            _ => (None, None, None),
        };
        Self {
            at: time(step.at_us / 1_000),
            at_us: step.at_us,
            event: step.kind.as_str().to_owned(),
            subscription: step.subscription.map(|id| id.to_string()),
            message: step.message.map(|message| message.to_string()),
            channel: step.kind.channel().map(str::to_owned),
            reason: step.kind.reason().map(str::to_owned),
            times,
            urgency,
            ttl_secs,
            bytes,
            node: None,
        }
    }

    /// The state of a message that this step ended.
    fn end(&self) -> Option<MessageState> {
        match &*self.event {
            "acknowledged" => Some(MessageState::Acknowledged),
            "removed" => self.reason.as_deref().and_then(MessageState::of_reason),
            _ => None,
        }
    }
}

impl Inspection {
    /// Sets the state of the message, and whether the subscription exists, from what storage says and from the steps. `now_ms` is
    /// the time in milliseconds since 1970.
    pub(super) fn conclude(&mut self, now_ms: u64) {
        self.subscribed = self.subscription.as_ref().map(|id| {
            let known = self.report.iter().flat_map(|report| &report.subscriptions);
            known.into_iter().any(|known| known.id == *id)
        });
        self.state = self
            .message
            .as_deref()
            .map(|message| self.state_of(message, now_ms));
    }

    /// What storage says comes first, then an end that a node has seen, then the receipt, then what follows from the time.
    fn state_of(&self, message: &str, now_ms: u64) -> MessageState {
        let of_it = || {
            self.steps
                .iter()
                .filter(|step| step.message.as_deref() == Some(message))
        };
        let was_offered = of_it().any(|step| step.event == "offered");
        match (self.waits, was_offered) {
            (Some(true), true) => return MessageState::Offered,
            (Some(true), false) => return MessageState::Waiting,
            _ => {}
        }
        // An acknowledgement counts more than any other end that a node has seen.
        let ends: Vec<_> = of_it().filter_map(ShownStep::end).collect();
        let acknowledged = ends.iter().find(|end| **end == MessageState::Acknowledged);
        if let Some(end) = acknowledged.or(ends.last()) {
            return *end;
        }
        if let Some(told) = self.receipt.filter(|told| *told != MessageState::GivenUp) {
            return told;
        }
        let accepted = of_it().find(|step| step.event == "accepted");
        if let Some(state) = accepted.and_then(|accepted| self.concluded(accepted, was_offered, now_ms)) {
            return state;
        }
        match (self.receipt, self.waits, accepted) {
            (Some(told), ..) => told,
            (None, Some(false), _) | (None, None, Some(_)) => MessageState::Gone,
            (None, None | Some(true), _) => MessageState::Unknown,
        }
    }

    /// What follows for a message that no longer waits from its TTL, or from the end of its subscription.
    fn concluded(&self, accepted: &ShownStep, was_offered: bool, now_ms: u64) -> Option<MessageState> {
        let ttl_secs = accepted.ttl_secs?;
        if ttl_secs == 0 {
            return Some(if was_offered {
                MessageState::Passed
            } else {
                MessageState::Unheard
            });
        }
        if accepted.at_us / 1_000 + ttl_secs * 1_000 <= now_ms {
            return Some(MessageState::Expired);
        }
        let ends_subscription = |step: &ShownStep| {
            step.event == "unsubscribed"
                && step.at_us >= accepted.at_us
                && (step.subscription.is_none() || step.subscription == accepted.subscription)
        };
        self.steps
            .iter()
            .any(ends_subscription)
            .then_some(MessageState::SubscriptionEnded)
    }

    /// One answer from those of several nodes, each with its name.
    ///
    /// `None` without an answer.
    pub fn merged(answers: Vec<(String, Self)>, now_ms: u64) -> Option<Self> {
        let several = answers.len() > 1;
        let mut merged: Option<Self> = None;
        for (node, mut answer) in answers {
            if several {
                for step in &mut answer.steps {
                    step.node = Some(node.clone());
                }
            }
            let whole = match &mut merged {
                None => merged.insert(answer),
                Some(whole) => {
                    whole.steps.append(&mut answer.steps);
                    whole.subscription = whole.subscription.take().or(answer.subscription);
                    whole.waits = whole.waits.or(answer.waits);
                    whole
                }
            };
            if several {
                whole.nodes.push(node);
            }
        }
        let mut merged = merged?;
        // Steps of one node stay in their order.
        merged.steps.sort_by_key(|step| step.at_us);
        merged.conclude(now_ms);
        Some(merged)
    }
}

/// As lines for a person.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = &self.message {
            let state = self.state.unwrap_or(MessageState::Unknown);
            writeln!(f, "message       {message}: {}", state.sentence())?;
        }
        if let Some(subscription) = &self.subscription {
            let is_there = match self.subscribed {
                Some(true) => ": exists",
                Some(false) => ": has ended, or never existed",
                None => "",
            };
            writeln!(f, "subscription  {subscription}{is_there}")?;
        }
        self.write_user_agent(f)?;
        for message in &self.waiting {
            writeln!(f, "              {message}")?;
        }
        if !self.nodes.is_empty() {
            writeln!(f, "nodes         {}", self.nodes.join(", "))?;
        }
        if self.steps.is_empty() {
            return writeln!(f, "steps         none remembered since the start of the process");
        }
        writeln!(f, "steps")?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        Ok(())
    }
}

impl Inspection {
    fn write_user_agent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            InspectedKind::Receipts => "receipts     ",
            _ => "user agent   ",
        };
        write!(f, "{what} {}", self.user_agent)?;
        let Some(report) = &self.report else {
            return writeln!(f, ": not known to storage: it never subscribed, or it has ended");
        };
        let seen = match report.seated {
            true => "connected".to_owned(),
            false => format!("not connected, last seen {}", time(report.last_seen * 1_000)),
        };
        writeln!(f, ": {seen}")?;
        writeln!(
            f,
            "waiting       {} messages, {} bytes; {} subscriptions",
            report.messages,
            report.bytes,
            report.subscriptions.len()
        )
    }
}

impl fmt::Display for ShownMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {}, {}, {} bytes, since {}, until {}{}",
            self.message,
            self.subscription,
            self.urgency,
            self.bytes,
            self.accepted,
            self.expires,
            if self.has_topic { ", with a topic" } else { "" }
        )
    }
}

impl fmt::Display for ShownStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = format!("{}  {:12}", self.at, self.event);
        let mut add = |name: &str, value: Option<&dyn fmt::Display>| {
            if let Some(value) = value {
                // Writing to a string does not fail.
                let _ = write!(line, "  {name}={value}");
            }
        };
        fn shown<T: fmt::Display>(value: &Option<T>) -> Option<&dyn fmt::Display> {
            value.as_ref().map(|value| value as &dyn fmt::Display)
        }
        add("reason", shown(&self.reason));
        add("message", shown(&self.message));
        add("subscription", shown(&self.subscription));
        add("channel", shown(&self.channel));
        add("times", shown(&self.times));
        add("urgency", shown(&self.urgency));
        add("ttl", shown(&self.ttl_secs));
        add("bytes", shown(&self.bytes));
        add("node", shown(&self.node));
        f.write_str(&line)
    }
}

/// A time as RFC 3339 writes it, in UTC, to the millisecond.
pub(super) fn time(ms: u64) -> String {
    const MILLISECONDS: EncodedConfig = Config::DEFAULT
        .set_time_precision(TimePrecision::Second {
            decimal_digits: NonZeroU8::new(3),
        })
        .encode();
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    // A time beyond the year 9999 cannot be written.
    time.ok()
        .and_then(|time| time.format(&Iso8601::<MILLISECONDS>).ok())
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "tests_of_inspection.rs"]
mod tests;

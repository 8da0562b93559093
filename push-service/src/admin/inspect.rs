//! `POST /inspect`: opens a URL or an id of the log, and shows what is known of it.
//!
//! The URL stands in the body of the request, because paths get into logs. The answer does not repeat it: it names everything by
//! the ids that storage knows.

use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use push_protocol::{MessageId, SubscriptionId, UserAgentId};

use super::Admin;
use super::inspection::{InspectedKind, Inspection, MessageState, ShownMessage, ShownStep};
use super::response::{AdminResponse, error, json, storage_error};
use crate::broker::Named;
use crate::defaults::WAITING_STEP;
use crate::history::{MessageNonce, Step};
use crate::resources;
use crate::storage::{StorageError, Traced, WaitingMessage, Which};
use push_protocol::ReceiptOutcome;

/// What is inspected.
struct Target {
    kind: InspectedKind,
    user_agent: UserAgentId,
    subscription: Option<SubscriptionId>,
    message: Option<MessageNonce>,
    /// The whole id of the message. The log has only the half that is in `message`.
    id: Option<MessageId>,
}

impl From<Named> for Target {
    fn from(named: Named) -> Self {
        let of = |kind| Self {
            kind,
            user_agent: named.user_agent(),
            subscription: None,
            message: None,
            id: None,
        };
        match named {
            Named::UserAgent(_) => of(InspectedKind::UserAgent),
            Named::Receipts(_) => of(InspectedKind::Receipts),
            Named::Subscription { subscription, .. } => Self {
                subscription: Some(subscription),
                ..of(InspectedKind::Subscription)
            },
            Named::Message { id, .. } => Self {
                message: Some(id.into()),
                id: Some(id),
                ..of(InspectedKind::Message)
            },
        }
    }
}

impl Target {
    /// Whether a step is shown: one of the target itself, or one of its user agent as a whole.
    fn has(&self, step: &Step) -> bool {
        let is_same = |one: Option<SubscriptionId>| one.is_none() || one == self.subscription;
        match (self.message, self.subscription) {
            (Some(message), _) => match step.message {
                Some(of) => of == message,
                None => is_same(step.subscription),
            },
            (None, Some(_)) => is_same(step.subscription),
            (None, None) => true,
        }
    }
}

impl Admin {
    /// Answers a request that asks for this URL or id.
    pub(super) async fn inspect(&self, asked: &str) -> AdminResponse {
        let target = match self.target(asked.trim()) {
            Ok(target) => target,
            Err(refused) => return *refused,
        };
        match self.inspected(target).await {
            Ok(inspection) => json(StatusCode::OK, &inspection),
            Err(trouble) => storage_error(&trouble),
        }
    }

    fn target(&self, asked: &str) -> Result<Target, Box<AdminResponse>> {
        let refuse = |status, why| Err(Box::new(error(status, why)));
        if asked.contains('/') {
            return match resources::named(&self.broker, asked) {
                Some(named) => Ok(named.into()),
                None => refuse(
                    StatusCode::NOT_FOUND,
                    "this URL names nothing here: it was made by another service, or with a sealing key that \
                     security.sealing_keys no longer has, or it is not complete",
                ),
            };
        }
        if let Some(user_agent) = UserAgentId::parse(asked) {
            return Ok(Named::UserAgent(user_agent).into());
        }
        // A message in 22 characters, as the WebSocket names it, or in 16, as the log does.
        let message = MessageId::parse(asked);
        let bits = message
            .map(MessageNonce::from)
            .or_else(|| MessageNonce::parse(asked));
        let Some(bits) = bits else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "the body must be a URL of an endpoint, a message, a subscription or a receipt subscription of \
                 this service; or an id as the log has it: 32 hexadecimal digits of a user agent, or 16 of a \
                 subscription or a message",
            );
        };
        match self.broker.history().find(bits.0) {
            Some((user_agent, step)) if step.message == Some(bits) => Ok(Target {
                kind: InspectedKind::Message,
                user_agent,
                subscription: step.subscription,
                message: Some(bits),
                id: message,
            }),
            Some((user_agent, step)) => Ok(Target {
                kind: InspectedKind::Subscription,
                user_agent,
                subscription: step.subscription,
                message: None,
                id: None,
            }),
            None => refuse(
                StatusCode::NOT_FOUND,
                "this node remembers no message and no subscription with this id; ask the other nodes, or ask for \
                 its URL or its user agent",
            ),
        }
    }

    async fn inspected(&self, mut target: Target) -> Result<Inspection, StorageError> {
        let user_agent = target.user_agent;
        let mut steps = self.broker.history().of(&user_agent);
        if target.subscription.is_none() {
            target.subscription = steps
                .iter()
                .filter(|step| target.message.is_some() && step.message == target.message)
                .find_map(|step| step.subscription);
        }
        let report = self.broker.report(user_agent).await?;
        let mut waiting = self
            .broker
            .waiting(user_agent, Which::First(WAITING_STEP))
            .await?;
        let has_all = waiting.len() < WAITING_STEP;
        let (waits, receipt) = match target.message {
            None => (None, None),
            Some(message) => {
                let found = self.find_waiting(&target, message, &waiting).await?;
                if let Some(found) = &found {
                    target.subscription = Some(found.subscription);
                }
                let is_sure = target.id.is_some() || has_all || found.is_some();
                let waits = is_sure.then_some(found.is_some());
                (waits, self.receipt(user_agent, message).await?)
            }
        };
        steps.retain(|step| target.has(step));
        if let Some(message) = target.message {
            waiting.retain(|one| MessageNonce::from(one.id) == message);
        } else if let Some(subscription) = target.subscription {
            waiting.retain(|one| one.subscription == subscription);
        }
        let mut inspection = Inspection {
            kind: target.kind,
            user_agent: user_agent.to_string(),
            subscription: target.subscription.map(|id| id.to_string()),
            message: target.message.map(|message| message.to_string()),
            state: None,
            waits,
            receipt,
            subscribed: None,
            report,
            waiting: waiting.iter().map(ShownMessage::of).collect(),
            steps: steps.iter().map(ShownStep::of).collect(),
            nodes: Vec::new(),
        };
        inspection.conclude(now_ms());
        Ok(inspection)
    }

    /// The message, if it waits.
    async fn find_waiting(
        &self,
        target: &Target,
        message: MessageNonce,
        first: &[WaitingMessage],
    ) -> Result<Option<WaitingMessage>, StorageError> {
        let known = first.iter().find(|one| MessageNonce::from(one.id) == message);
        match (known, target.id) {
            (Some(known), _) => Ok(Some(*known)),
            (None, None) => Ok(None),
            (None, Some(id)) => {
                let one = self.broker.waiting(target.user_agent, Which::One(id)).await?;
                Ok(one.first().copied())
            }
        }
    }

    async fn receipt(
        &self,
        user_agent: UserAgentId,
        message: MessageNonce,
    ) -> Result<Option<MessageState>, StorageError> {
        Ok(match self.broker.traced(user_agent, message.0).await? {
            Traced::Nothing => None,
            Traced::Waiting => Some(MessageState::Waiting),
            Traced::Ended(end) => Some(match end.how {
                ReceiptOutcome::Acknowledged => MessageState::Acknowledged,
                ReceiptOutcome::GivenUp => MessageState::GivenUp,
                ReceiptOutcome::Replaced => MessageState::Replaced,
            }),
        })
    }
}

/// The time, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |passed| u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}

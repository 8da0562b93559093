//! The service's session against a queue and a user agent that behave as badly as they may.

mod bounds;
mod endings;
mod hello;
mod offers;
mod reading;
mod scenario;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::identifiers::{MessageId, MessageNumber, SubscriptionId, SubscriptionName, UserAgentIdentity};
use crate::message::{Coding, Content, PushMessage};
use crate::urgency::Urgency;

fn limits() -> Limits {
    Limits {
        hello_within: Duration::from_secs(5),
        attach_within: Duration::from_secs(8),
        in_flight: 6,
        acknowledge_within: Duration::from_secs(60),
        page_messages: 4,
        page_bytes: 1 << 16,
        ask_storage_again_after: Duration::from_secs(1),
        ping_every: Duration::from_secs(300),
        pong_within: Duration::from_secs(30),
        write_within: Duration::from_secs(30),
        answer_every: Duration::from_secs(10),
        answer_burst: 3,
        drain_within: Duration::from_secs(1),
    }
}

fn message(number: u64, subscription: u8, urgency: Urgency) -> Arc<PushMessage> {
    Arc::new(PushMessage {
        id: MessageId {
            number: MessageNumber(number),
            nonce: number * 31,
        },
        subscription: SubscriptionId([subscription; 8]),
        name: SubscriptionName([subscription; 16]),
        urgency,
        content: Content {
            coding: Coding::Absent,
            media_type: None,
            body: Bytes::new(),
        },
        key: None,
        sealed_by: crate::capability::KeyId(0),
        accepted_at_ms: 0,
        remaining_ms: 60_000,
    })
}

fn identity(seed: u8) -> UserAgentIdentity {
    UserAgentIdentity::from_random([seed; 16])
}

/// The storage's side of a queue, as its contract says.
#[derive(Default)]
struct Queue {
    messages: BTreeMap<MessageNumber, Arc<PushMessage>>,
    last: MessageNumber,
}

impl Queue {
    fn store(&mut self, subscription: u8, urgency: Urgency) -> WakeUp {
        let previous = self.last;
        let message = message(previous.0 + 10, subscription, urgency);
        self.last = message.id.number;
        self.messages.insert(self.last, Arc::clone(&message));
        WakeUp::Stored { message, previous }
    }

    fn page(&self, request: &PageRequest) -> Page {
        let in_scope = |message: &&Arc<PushMessage>| {
            message.urgency >= request.minimum
                && match &request.scope {
                    Scope::AllBut(except) => !except.contains(&message.subscription),
                    Scope::These(these) => these.contains(&message.subscription),
                }
        };
        let above = self
            .messages
            .range(MessageNumber(request.after.0 + 1)..)
            .map(|(_, message)| message);
        let mut messages: Vec<_> = above
            .filter(in_scope)
            .take(request.messages + 1)
            .cloned()
            .collect();
        let more = messages.len() > request.messages;
        messages.truncate(request.messages);
        let upto = if more {
            messages.last().map_or(self.last, |m| m.id.number)
        } else {
            self.last
        };
        Page { messages, upto, more }
    }
}

fn offers(actions: &[Action]) -> Vec<u64> {
    let number = |action: &Action| match action {
        Action::Offer(message) => Some(message.id.number.0),
        _ => None,
    };
    actions.iter().filter_map(number).collect()
}

fn closed(actions: &[Action]) -> Option<CloseReason> {
    actions.iter().find_map(|action| match action {
        Action::Close(reason) => Some(*reason),
        _ => None,
    })
}

/// A session of a known user agent that said hello, whose queue is `queue`.
fn live(queue: &Queue, out: &mut Vec<Action>) -> Session {
    let mut session = Session::new(Arc::new(limits()), Moment(0));
    session.hello(Some(identity(1)), identity(2), Moment(0), out);
    let Some(Action::Attach { head, .. }) = out.pop() else {
        panic!("{out:?}")
    };
    session.attached(AttachOutcome::Known(queue.page(&head)), Moment(0), out);
    session
}

/// Answers pages until none is wanted.
fn answer_pages(session: &mut Session, queue: &Queue, out: &mut Vec<Action>) {
    while let Some(at) = out.iter().position(|action| matches!(action, Action::Page(_))) {
        let Action::Page(request) = out.remove(at) else {
            unreachable!()
        };
        session.paged(PageOutcome::Page(queue.page(&request)), Moment(0), out);
    }
}

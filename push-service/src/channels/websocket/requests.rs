//! What a user agent asks for, and the replies that have to wait for storage.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use push_protocol::session::{Action, Moment};
use push_protocol::wire::websocket::{
    AckCode, Acknowledgement, NackCode, Name, Registered, Request, parse, write_broadcasts, write_pong,
    write_registered, write_unregistered, write_urgency,
};
use push_protocol::{MessageId, MessageNumber, SubscriptionName, UserAgentId, UserAgentIdentity};

use super::WebSocketChannel;
use super::scratch::Scratch;
use crate::broker::SubscribeRefusal;
use crate::channels::Guard;
use crate::defaults::{COST_FRAME, COST_SUBSCRIBE, COST_UNKNOWN_ACKNOWLEDGEMENT, COST_UNSUBSCRIBE};
use crate::metrics::{Nack, Undelivered};
use crate::random;
use crate::resources::{sealed_push_url, subscribe_refusal};

/// The reply to a request that had to wait for storage.
pub(super) enum StorageReply {
    Registered(Box<str>, Result<String, SubscribeRefusal>),
    Unregistered(Box<str>, bool),
}

impl StorageReply {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Registered(name, subscribed) => {
                let registered = match subscribed {
                    Ok(push_url) => Registered::Endpoint(push_url),
                    Err(refusal) => {
                        subscribe_refusal(*refusal).map_or(Registered::Trouble, Registered::Refused)
                    }
                };
                write_registered(out, name, registered);
            }
            Self::Unregistered(name, is_done) => write_unregistered(out, name, *is_done),
        }
    }
}

impl<Io, G: Guard> WebSocketChannel<Io, G> {
    pub(super) fn take_text(&mut self, text: &str, now: Moment, scratch: &mut Scratch) {
        let request = match parse(text) {
            Ok(request) => request,
            Err(malformed) => {
                let reason = push_protocol::session::CloseReason::Malformed(malformed.0);
                return self.driver.session.close(reason, &mut scratch.actions);
            }
        };
        if let Request::Hello(identity, minimum) = request {
            let fresh = UserAgentIdentity::from_random(random::bytes());
            self.driver.session.begin_with(minimum);
            return self
                .driver
                .session
                .hello(identity, fresh, now, &mut scratch.actions);
        }
        if self.driver.session.may_request(&mut scratch.actions) {
            self.serve(request, now, scratch);
        }
    }

    fn serve(&mut self, request: Request<'_>, now: Moment, scratch: &mut Scratch) {
        match request {
            Request::Hello(..) => {}
            Request::Register { name, key } => self.register(&name, key.as_deref(), now, scratch),
            Request::Unregister { name, .. } => self.unregister(&name, now, scratch),
            Request::Ack(updates) => self.acknowledge(&updates, now, scratch),
            Request::Nack(code) => {
                self.pay(COST_FRAME, now, scratch);
                self.driver.shared.metrics.nacked(nack(code));
            }
            request => self.answer_at_once(&request, now, scratch),
        }
    }

    /// Requests that need no storage have a pace instead.
    fn answer_at_once(&mut self, request: &Request<'_>, now: Moment, scratch: &mut Scratch) {
        if !self.driver.session.may_answer(now, &mut scratch.actions) {
            return;
        }
        match request {
            Request::Ping => write_pong(&mut scratch.out),
            Request::BroadcastSubscribe => write_broadcasts(&mut scratch.out),
            Request::Urgency(Some(minimum)) => {
                write_urgency(&mut scratch.out, true);
                self.driver
                    .session
                    .set_minimum(*minimum, now, &mut scratch.actions);
            }
            Request::Urgency(None) => write_urgency(&mut scratch.out, false),
            _ => {}
        }
    }

    pub(super) fn acknowledge(&mut self, updates: &[Acknowledgement], now: Moment, scratch: &mut Scratch) {
        let metrics = &self.driver.shared.metrics;
        for update in updates {
            match update.code {
                AckCode::Delivered => {}
                AckCode::NotDecrypted => metrics.undelivered(Undelivered::Undecryptable),
                AckCode::NotDelivered => metrics.undelivered(Undelivered::Unwanted),
            }
        }
        let messages: Vec<MessageId> = updates.iter().filter_map(|update| update.message).collect();
        // A message with TTL 0 has the number 0, and is not in storage.
        let stored = messages
            .iter()
            .filter(|id| id.number != MessageNumber::START)
            .count();
        let on_wire = self
            .driver
            .session
            .acknowledge(messages, now, &mut scratch.actions);
        let cost = acknowledgement_cost(updates.len(), stored, on_wire);
        if cost > 0 && self.pay(cost, now, scratch).is_none() {
            // Not taken: messages that were really sent come again on the next channel, and are acknowledged there.
            scratch
                .actions
                .retain(|action| !matches!(action, Action::Acknowledge(_)));
        }
    }

    fn register(&mut self, name: &Name<'_>, key: Option<&str>, now: Moment, scratch: &mut Scratch) {
        let Some(user_agent) = self.driver.session.user_agent() else {
            return;
        };
        let Some(wait) = self.pay(COST_SUBSCRIBE, now, scratch) else {
            return;
        };
        let Some(parsed) = name.parsed else {
            let refused = Registered::Refused("channelID must be a UUID in lower case, with dashes");
            return write_registered(&mut scratch.out, &name.text, refused);
        };
        self.driver.session.subscribes();
        let key = key.map(str::to_owned);
        let (broker, seat) = (Arc::clone(&self.driver.shared.broker), self.driver.seat());
        let text: Box<str> = name.text.as_ref().into();
        let payer = self.guard.payer();
        self.request = Some(Box::pin(async move {
            sleep(wait).await;
            let subscribed = broker
                .subscribe(user_agent, parsed, key.as_deref(), Some(seat), payer)
                .await;
            let push_url = subscribed.map(|push| sealed_push_url(&broker, &push));
            StorageReply::Registered(text, push_url)
        }));
    }

    fn unregister(&mut self, name: &Name<'_>, now: Moment, scratch: &mut Scratch) {
        let Some(user_agent) = self.driver.session.user_agent() else {
            return;
        };
        let Some(wait) = self.pay(COST_UNSUBSCRIBE, now, scratch) else {
            return;
        };
        let Some(parsed) = name.parsed else {
            // No subscription can have that name.
            return write_unregistered(&mut scratch.out, &name.text, true);
        };
        self.request = Some(self.unsubscribe(user_agent, parsed, name.text.as_ref().into(), wait));
    }

    fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
        text: Box<str>,
        wait: Duration,
    ) -> BoxFuture<'static, StorageReply> {
        let broker = Arc::clone(&self.driver.shared.broker);
        Box::pin(async move {
            sleep(wait).await;
            let ended = broker.unsubscribe(user_agent, name).await;
            StorageReply::Unregistered(text, ended.is_ok())
        })
    }
}

/// The cost of a frame with acknowledgements: only those of messages that were not sent on this channel cost tokens.
fn acknowledgement_cost(all: usize, stored: usize, on_wire: usize) -> u32 {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let unknown = count(stored.saturating_sub(on_wire)).saturating_mul(COST_UNKNOWN_ACKNOWLEDGEMENT);
    let idle = count(all.saturating_sub(stored).max(usize::from(all == 0)));
    unknown.saturating_add(idle.saturating_mul(COST_FRAME))
}

/// Waits before storage is asked, until the tokens are earned.
async fn sleep(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn nack(code: NackCode) -> Nack {
    match code {
        NackCode::Exception => Nack::Exception,
        NackCode::Rejection => Nack::Rejection,
        NackCode::Internal => Nack::Internal,
        NackCode::Other => Nack::Other,
    }
}

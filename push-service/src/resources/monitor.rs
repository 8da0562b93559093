//! Monitored resources: a subscription, a set, receipts (RFC 8030 §6, §6.1, §6.3). GET monitors one, DELETE ends it for good.
//!
//! A monitoring request is checked here and then handed to a channel, because the connection decides how messages are
//! delivered.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use push_protocol::session::Interest;
use push_protocol::{MessageId, Urgency, headers};

use super::answer::Problem;
use super::message::no_content;
use super::{Answer, CommonFields, Resources};
use crate::broker::{Monitored, QueueKind, Refusal};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A monitoring request.
#[derive(Debug)]
pub struct Monitoring {
    /// What is monitored.
    pub monitored: Monitored,
    /// The lowest urgency that is wanted.
    pub minimum: Urgency,
    /// For how long, if not for ever. Zero: only what waits already (R30-MON-12).
    pub wait: Option<Duration>,
    /// In which form messages are delivered.
    pub form: Form,
    /// Header fields that every answer to it has.
    pub common: CommonFields,
}

/// In which form messages are delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// By HTTP/2 server push: also if the request accepts anything.
    Push,
    /// As Server-Sent Events.
    Events {
        /// The last event that arrived over an earlier connection.
        last: Option<MessageId>,
    },
}

impl Monitoring {
    /// What its session asks for.
    pub fn interest(&self) -> Interest {
        Interest {
            subscription: self.monitored.subscription,
            minimum: self.minimum,
        }
    }
}

impl Resources {
    /// Answers a request with a method that the resource has.
    pub(super) async fn monitor(&self, monitored: Monitored, head: &Parts) -> Result<Answer, Problem> {
        match head.method {
            Method::DELETE => {
                self.broker.end(&monitored).await?;
                Ok(no_content().into())
            }
            Method::HEAD => self.look(&monitored).await.map(Answer::from),
            _ => Ok(Answer::Monitor(self.monitoring(monitored, &head.headers)?)),
        }
    }

    /// HEAD: whether the resource exists, without monitoring it.
    async fn look(&self, monitored: &Monitored) -> Result<Response<Bytes>, Problem> {
        match self.broker.is_known(monitored).await {
            Ok(true) => Ok(Response::new(Bytes::new())),
            Ok(false) => Err(Refusal::UnknownResource.into()),
            Err(error) => Err(Refusal::from(error).into()),
        }
    }

    fn monitoring(&self, monitored: Monitored, fields: &HeaderMap) -> Result<Monitoring, Problem> {
        let minimum = match monitored.queue {
            QueueKind::Messages => headers::urgency(fields)?.unwrap_or(Urgency::VeryLow),
            QueueKind::Receipts => Urgency::VeryLow,
        };
        let last = self.last_event(&monitored, fields);
        Ok(Monitoring {
            monitored,
            minimum,
            wait: headers::wait(fields),
            form: if headers::accepts_events(fields) {
                Form::Events { last }
            } else {
                Form::Push
            },
            common: self.common_fields(fields),
        })
    }

    /// The receipt that arrived last over an earlier connection. An event's id is a token: one that is invalid, or comes from
    /// another receipt subscription, is ignored.
    fn last_event(&self, monitored: &Monitored, fields: &HeaderMap) -> Option<MessageId> {
        let token = fields.get(LAST_EVENT_ID)?.to_str().ok()?;
        let message = self.broker.open_promise(token).ok()?;
        (message.user_agent == monitored.user_agent).then_some(message.id)
    }
}

/// The head of an answer with Server-Sent Events.
pub fn events_head(common: &CommonFields) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::OK;
    let fields = head.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Tells proxies that buffer answers not to hold events back.
    fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
    common.join(&mut head);
    head
}

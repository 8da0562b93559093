//! What is monitored: a subscription, a set, receipts (RFC 8030 §6, §6.1, §6.3). GET begins, DELETE ends it for good.
//!
//! A request to monitor is checked here and then belongs to whoever holds the connection: how a message is brought depends
//! on it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use push_protocol::session::Interest;
use push_protocol::{MessageId, Urgency, headers};

use super::answer::Problem;
use super::message::no_content;
use super::{Answer, CommonFields, Resources};
use crate::broker::{Monitored, QueueKind, Refusal};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A request to monitor something.
#[derive(Debug)]
pub struct Monitoring {
    /// What.
    pub monitored: Monitored,
    /// From which urgency on.
    pub minimum: Urgency,
    /// How long, if not for ever; no time at all: what waits, and then the end (R30-MON-12).
    pub wait: Option<Duration>,
    /// In which form its messages are to come.
    pub form: Form,
    /// What its answer has, whatever it says.
    pub common: CommonFields,
}

/// How messages are brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// By HTTP/2 server push: also for one who takes anything.
    Push,
    /// As Server-Sent Events.
    Events {
        /// The last one that arrived over an earlier connection.
        last: Option<MessageId>,
    },
}

impl Monitoring {
    /// What its session is to want.
    pub fn interest(&self) -> Interest {
        Interest {
            subscription: self.monitored.subscription,
            minimum: self.minimum,
        }
    }
}

impl Resources {
    /// For a method that the resource has.
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

    /// HEAD: whether it is there, without monitoring it.
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

    /// The receipt that arrived last over an earlier connection. An event's id is a token: one that was made up, or comes from
    /// other receipts, says nothing.
    fn last_event(&self, monitored: &Monitored, fields: &HeaderMap) -> Option<MessageId> {
        let token = fields.get(LAST_EVENT_ID)?.to_str().ok()?;
        let told = self.broker.open_promise(token).ok()?;
        (told.user_agent == monitored.user_agent).then_some(told.id)
    }
}

/// The head of an answer whose events follow.
pub fn events_head(common: &CommonFields) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::OK;
    let fields = head.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather an answer before they pass it on would hold every event back.
    fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
    common.join(&mut head);
    head
}

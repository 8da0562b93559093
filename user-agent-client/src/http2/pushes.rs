//! Messages that are promised and not whole yet (RFC 8030 §6), and the order in which they are handed over.
//!
//! Streams overtake each other. Per subscription, messages are handed over in the order of the promises (PR-20); one that
//! takes its time holds up those of its own subscription only.
//!
//! **Invariant:** what is here is bounded: HTTP/2 bounds how many streams a service has open, and a body that is too long
//! is not read to its end.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{PushPromise, PushedResponseFuture};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use push_protocol::Dialect;
use push_protocol::headers::{self, Relation};
use push_protocol::message::Content;
use push_protocol::session::user_agent::{Metadata, PushResource};
use tokio::time::Instant;
use url::Url;

use super::incoming::Pushed;
use crate::defaults::{PUSHED_BYTES, PUSHED_WITHIN};
use crate::links;

/// In the order of the promises.
#[derive(Default)]
pub(super) struct Pushes(VecDeque<Push>);

struct Push {
    path: Box<str>,
    /// The subscription's push resource, once the promise or the answer names it (R30-MON-6).
    push_resource: Option<Box<str>>,
    since: Instant,
    state: PushState,
}

enum PushState {
    Promised(PushedResponseFuture),
    Reading(Box<Reading>),
    /// `None`: it can't be read.
    Whole(Option<Content>, Option<Box<Metadata>>),
    /// Reset, or not a message: it is dropped without an acknowledgement.
    Gone,
}

struct Reading {
    headers: HeaderMap,
    stream: RecvStream,
    body: BytesMut,
}

impl Pushes {
    /// Takes a promise of this service, if it is one for a message of its own. One that isn't is refused: dropping it resets
    /// its stream.
    pub(super) fn promised(&mut self, promise: PushPromise, home: &Url) -> bool {
        let (request, response) = promise.into_parts();
        let Some(path) = message_path(&request, home) else {
            return false;
        };
        self.0.push_back(Push {
            path,
            push_resource: links::find(request.headers(), Relation::Push, home).map(Into::into),
            since: Instant::now(),
            state: PushState::Promised(response),
        });
        true
    }

    /// The next message that is whole and is the first of its subscription.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, home: &Url) -> Poll<Pushed> {
        for push in &mut self.0 {
            push.poll(cx, home);
        }
        self.0.retain(|push| !matches!(push.state, PushState::Gone));
        let next = (0..self.0.len()).find(|at| self.is_next(*at));
        let push = next.and_then(|at| self.0.remove(at));
        if self.0.is_empty() {
            // After a burst its buffer is freed.
            self.0 = VecDeque::new();
        }
        match push {
            Some(Push {
                path,
                push_resource,
                state: PushState::Whole(content, metadata),
                ..
            }) => Poll::Ready(Pushed {
                push_resource: push_resource.unwrap_or_default(),
                path,
                content,
                metadata,
            }),
            _ => Poll::Pending,
        }
    }

    /// When the oldest has taken too long.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.front().map(|push| push.since + PUSHED_WITHIN)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses all of them. They are not acknowledged, so they come again on another channel.
    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    /// A message whose subscription is not known yet delays all that follow.
    fn is_next(&self, at: usize) -> bool {
        let push = &self.0[at];
        let may_be_of_the_same = |earlier: &Push| match (&earlier.push_resource, &push.push_resource) {
            (Some(one), Some(other)) => one == other,
            (None, _) => !earlier.is_whole(),
            (Some(_), None) => false,
        };
        push.is_whole() && !self.0.range(..at).any(may_be_of_the_same)
    }
}

impl Push {
    fn is_whole(&self) -> bool {
        matches!(self.state, PushState::Whole(..))
    }

    fn poll(&mut self, cx: &mut Context<'_>, home: &Url) {
        if let PushState::Promised(response) = &mut self.state {
            let Poll::Ready(answer) = Pin::new(response).poll(cx) else {
                return;
            };
            self.state = match answer {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    let (head, stream) = answer.into_parts();
                    let named = links::find(&head.headers, Relation::Push, home);
                    self.push_resource = named.map(Into::into).or(self.push_resource.take());
                    PushState::Reading(Box::new(Reading::of(head.headers, stream)))
                }
                Ok(_) | Err(_) => PushState::Gone,
            };
        }
        if let PushState::Reading(reading) = &mut self.state
            && let Poll::Ready(state) = reading.poll(cx)
        {
            self.state = state;
        }
    }
}

impl Reading {
    fn of(headers: HeaderMap, stream: RecvStream) -> Self {
        Self {
            headers,
            stream,
            body: BytesMut::new(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<PushState> {
        loop {
            match std::task::ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    if self.body.len() + data.len() > PUSHED_BYTES {
                        // It can't be decrypted; if it were ignored, it would come again and again.
                        return Poll::Ready(PushState::Whole(None, None));
                    }
                    self.body.extend_from_slice(&data);
                    // It fails only for a stream that was reset in the meantime.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                }
                Some(Err(_)) => return Poll::Ready(PushState::Gone),
                None => return Poll::Ready(PushState::Whole(self.content(), self.metadata())),
            }
        }
    }

    /// A copy of its own size: what was read into belongs to the connection, and is larger.
    fn content(&mut self) -> Option<Content> {
        let body = Bytes::copy_from_slice(&self.body);
        headers::content(&self.headers, body, Dialect::Rfc8030).ok()
    }

    fn metadata(&self) -> Option<Box<Metadata>> {
        Metadata::from_fields(|name| self.headers.get(name)?.to_str().ok())
    }
}

/// R30-MON-3: a message is promised as a `GET` of a resource at the service's own origin.
fn message_path(request: &Request<()>, home: &Url) -> Option<Box<str>> {
    (*request.method() == Method::GET).then(|| path_of(request.uri(), home))?
}

/// The path of a message resource at the service's own origin.
pub(super) fn path_of(uri: &Uri, home: &Url) -> Option<Box<str>> {
    let url = Url::parse(&uri.to_string()).ok()?;
    let path = uri.path_and_query()?.as_str();
    (url.origin() == home.origin() && path.len() <= PushResource::MAX_BYTES).then(|| path.into())
}

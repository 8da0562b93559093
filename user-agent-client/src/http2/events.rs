//! Messages as Server-Sent Events, where there is no server push (docs/events.md): the same messages, each with the resource
//! that acknowledges it.
//!
//! Push is asked for first. A service that can't push refuses, or answers with events at once; after a refusal the same set
//! is asked for as events, on the same connection. HTTP/2's settings are no help: a server does not announce there that it
//! pushes.

use std::collections::BTreeMap;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use push_protocol::Dialect;
use push_protocol::headers;
use push_protocol::message::Content;
use push_protocol::session::user_agent::Metadata;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::answer::Body;
use super::incoming::Pushed;
use super::no_answer::NoAnswer;
use super::pushes::path_of;
use crate::defaults::{EVENT_BYTES, PUSH_AGAIN_AFTER, PUSHED_BYTES};
use crate::events::{Event, Events, Read};
use crate::explanation::one_line;
use crate::links;

/// How messages come from the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Form {
    /// By server push.
    #[default]
    Push,
    /// As Server-Sent Events.
    Events,
}

impl Form {
    /// The form to ask for first. `without_push` is since when it is known that no server push gets through; because proxies may be
    /// repaired, push is tried again after [`PUSH_AGAIN_AFTER`].
    pub(crate) fn of(without_push: Option<Instant>) -> Self {
        match without_push {
            Some(since) if since.elapsed() < PUSH_AGAIN_AFTER => Self::Events,
            Some(_) | None => Self::Push,
        }
    }
}

/// An open stream of events. Dropping it gives the request up.
pub(super) struct EventStream {
    body: Body,
    events: Events,
    unread: Bytes,
}

/// What came on the stream.
pub(super) enum StreamEvent {
    Message(Pushed),
    /// An event that is not a valid message.
    Nonsense,
    /// A comment, an event of an unknown kind, or a part of an event.
    Alive,
    /// Nothing more comes.
    Over(StreamEnd),
}

/// Why nothing more comes.
pub(super) enum StreamEnd {
    /// The service said so, with a status and perhaps a sentence.
    Told(u16, Option<Box<str>>),
    /// The answer has ended.
    Ended,
    /// The connection broke.
    Broken(NoAnswer),
    /// An event doesn't end.
    Endless,
}

impl EventStream {
    pub(super) fn of(body: Body) -> Self {
        Self {
            body,
            events: Events::of_at_most(EVENT_BYTES),
            unread: Bytes::new(),
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, home: &Url) -> Poll<StreamEvent> {
        loop {
            let mut is_alive = false;
            while !self.unread.is_empty() {
                is_alive = true;
                match self.events.read(&self.unread) {
                    Ok(Some((read, taken))) => {
                        self.unread.advance(taken);
                        if let Some(heard) = heard(&read, home) {
                            return Poll::Ready(heard);
                        }
                    }
                    Ok(None) => self.unread = Bytes::new(),
                    Err(_) => return Poll::Ready(StreamEvent::Over(StreamEnd::Endless)),
                }
            }
            if is_alive {
                return Poll::Ready(StreamEvent::Alive);
            }
            self.unread = match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => data,
                Some(Err(error)) => return Poll::Ready(StreamEvent::Over(StreamEnd::Broken(error))),
                None => return Poll::Ready(StreamEvent::Over(StreamEnd::Ended)),
            };
        }
    }
}

/// Whether an answer is a stream of events, whatever parameters its type has.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|media_type| media_type.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Events of an unknown kind are ignored.
fn heard(read: &Read, home: &Url) -> Option<StreamEvent> {
    let Read::Event(event) = read else {
        return Some(StreamEvent::Nonsense);
    };
    match event.kind.as_str() {
        // Without a name it is a message (WHATWG HTML §9.2.6).
        "message" | "" => Some(message(event, home).map_or(StreamEvent::Nonsense, StreamEvent::Message)),
        "end" => Some(StreamEvent::Over(end(event))),
        _ => None,
    }
}

fn message(event: &Event, home: &Url) -> Option<Pushed> {
    #[derive(Deserialize)]
    struct Members {
        message: String,
        push: String,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
    }
    let members: Members = serde_json::from_str(&event.data).ok()?;
    let message: Uri = links::absolute(&members.message, home)?.parse().ok()?;
    Some(Pushed {
        path: path_of(&message, home)?,
        push_resource: links::absolute(&members.push, home)?.into(),
        content: content(&members.headers, &members.body),
        metadata: Metadata::from_fields(|name| members.headers.get(name).map(String::as_str)),
    })
}

/// `None` if it can't be read.
fn content(fields: &BTreeMap<String, String>, body: &str) -> Option<Content> {
    const OF_CONTENT: [HeaderName; 4] = [
        CONTENT_TYPE,
        CONTENT_ENCODING,
        HeaderName::from_static("encryption"),
        HeaderName::from_static("crypto-key"),
    ];
    let body = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).ok()?;
    if body.len() > PUSHED_BYTES {
        return None;
    }
    let mut headers = HeaderMap::new();
    for name in OF_CONTENT {
        if let Some(value) = fields.get(name.as_str()) {
            headers.insert(name, HeaderValue::try_from(value).ok()?);
        }
    }
    headers::content(&headers, body.into(), Dialect::Rfc8030).ok()
}

/// Reads the event `end`. If it can't be read, the stream has ended nevertheless.
fn end(event: &Event) -> StreamEnd {
    #[derive(Deserialize)]
    struct EndMembers {
        status: u16,
        #[serde(default)]
        detail: String,
    }
    let Ok(EndMembers { status, detail }) = serde_json::from_str(&event.data) else {
        return StreamEnd::Ended;
    };
    let detail = one_line(&detail);
    StreamEnd::Told(status, (!detail.is_empty()).then(|| detail.into()))
}

//! Messages as Server-Sent Events, where there is no server push (docs/events.md): the same messages, each with the resource
//! that acknowledges it.
//!
//! Push is asked for first. A service that can't push says so in its answer, or answers with events at once; then the same set
//! is asked for as events, on the same connection. What the peer says in HTTP/2's settings tells nothing: servers don't
//! announce that they push.
//!
//! No ping proves that events still come: a proxy answers pings itself, and HTTP/1.1 has none. Only bytes on the stream prove it,
//! comments included. After as long a silence as the session allows, the set is asked for again; the answer is the proof. The
//! older request is read until the service ends it.

use std::collections::BTreeMap;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use push_protocol::headers::{self, Strictness};
use push_protocol::message::Content;
use push_protocol::session::user_agent::{Ended, Extent, Metadata};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::answer::{Body, NoAnswer};
use super::incoming::{Incoming, Pushed};
use super::monitor::Monitor;
use super::pushes::path_of;
use super::{Channel, End};
use crate::defaults::{EVENT_BYTES, PUSH_AGAIN_AFTER, PUSHED_BYTES};
use crate::events::{Event, Events, Read};
use crate::explanation::one_line;
use crate::links;

/// How messages are brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// By server push.
    #[default]
    Push,
    /// As Server-Sent Events.
    Events,
}

impl Form {
    /// How messages are asked for first, if it is known since then that no server push gets through: proxies are mended, so it
    /// is tried again after [`PUSH_AGAIN_AFTER`].
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

/// What came on it.
pub(super) enum Heard {
    Message(Pushed),
    /// An event that should be a message, and is not a valid one.
    Nonsense,
    /// A comment, an event that says nothing to us, or a part of one.
    Alive,
    /// Nothing more comes.
    Over(Over),
}

/// Why nothing more comes.
pub(super) enum Over {
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

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, home: &Url) -> Poll<Heard> {
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
                    Err(_) => return Poll::Ready(Heard::Over(Over::Endless)),
                }
            }
            if is_alive {
                return Poll::Ready(Heard::Alive);
            }
            self.unread = match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => data,
                Some(Err(error)) => return Poll::Ready(Heard::Over(Over::Broken(error))),
                None => return Poll::Ready(Heard::Over(Over::Ended)),
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

/// Events of a kind that nobody has thought of yet say nothing.
fn heard(read: &Read, home: &Url) -> Option<Heard> {
    let Read::Event(event) = read else {
        return Some(Heard::Nonsense);
    };
    match event.kind.as_str() {
        // Without a name it is a message (WHATWG HTML §9.2.6).
        "message" | "" => Some(message(event, home).map_or(Heard::Nonsense, Heard::Message)),
        "end" => Some(Heard::Over(end(event))),
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
    headers::content(&headers, body.into(), Strictness::Rfc8030).ok()
}

/// One that can't be read is an end all the same.
fn end(event: &Event) -> Over {
    #[derive(Deserialize)]
    struct Told {
        status: u16,
        #[serde(default)]
        detail: String,
    }
    let Ok(Told { status, detail }) = serde_json::from_str(&event.data) else {
        return Over::Ended;
    };
    let detail = one_line(&detail);
    Over::Told(status, (!detail.is_empty()).then(|| detail.into()))
}

/// In the words of the channel. An end is none of its own here: the monitor keeps it.
fn incoming(heard: Heard) -> Incoming {
    match heard {
        Heard::Message(pushed) => Incoming::Pushed(pushed),
        Heard::Nonsense => Incoming::Nonsense,
        Heard::Alive | Heard::Over(_) => Incoming::SignOfLife,
    }
}

impl Channel {
    /// What comes as events, and that the service has begun to bring them.
    pub(super) fn poll_events(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Incoming> {
        if let Some(monitor) = &mut self.monitor
            && monitor.poll_begun(cx)
        {
            self.form = Form::Events;
            if !std::mem::replace(&mut self.is_without_push, true) {
                return Poll::Ready(Incoming::WithoutPush);
            }
            if !self.is_greeting {
                return Poll::Ready(Incoming::SignOfLife);
            }
        }
        if self.is_greeted_by_answer() && self.monitor.as_ref().is_none_or(Monitor::brings_events) {
            return self.greeted();
        }
        if !self.may_take() {
            return Poll::Pending;
        }
        // What came before first: a message may be on its way there whose successor comes here.
        if let Some((older, until)) = &mut self.wishes.replaced
            && older.form() == Form::Events
        {
            if let Poll::Ready(Some(heard)) = older.poll_event(cx, &self.requester.home) {
                return Poll::Ready(incoming(heard));
            }
            if older.poll_end(cx).is_pending() && now < *until {
                return Poll::Pending;
            }
            self.wishes.replaced = None;
        }
        let Some(monitor) = &mut self.monitor else {
            return Poll::Pending;
        };
        match ready!(monitor.poll_event(cx, &self.requester.home)) {
            Some(heard) => Poll::Ready(incoming(heard)),
            // The end is looked for where every end is.
            None => Poll::Pending,
        }
    }

    /// The service is there, as its answer says.
    pub(super) fn greeted(&mut self) -> Poll<Incoming> {
        self.is_greeting = false;
        Poll::Ready(self.set.clone().map_or(Incoming::Nobody, Incoming::Monitoring))
    }

    /// Whether nothing but an answer to the monitoring request says that the service is there.
    pub(super) fn is_greeted_by_answer(&self) -> bool {
        self.is_greeting && !self.is_pinged
    }

    /// Asks for the set in the other form, once, if the service refuses this one. Whether it does.
    pub(super) fn changes_form(&mut self, ended: Ended) -> bool {
        let Ended::Refused { status, .. } = ended else {
            return false;
        };
        // What our service, RFC 9110 and proxies say to a request that they could serve in another form.
        let may_change = matches!(status, 400 | 405 | 406 | 421 | 426 | 501 | 505)
            && matches!(self.end, End::Open)
            && self.requester.requests.can_push();
        if !may_change || std::mem::replace(&mut self.has_changed_form, true) {
            return false;
        }
        self.form = match self.form {
            Form::Push => Form::Events,
            Form::Events => Form::Push,
        };
        self.begin_monitoring();
        true
    }

    /// Whether a ping has to be another request for the set; makes it. A service that has not answered the last one, or not
    /// ended the one before, owes us that.
    pub(super) fn pings_by_asking(&mut self) -> bool {
        let Some(monitor) = &self.monitor else {
            return false;
        };
        if monitor.form() == Form::Push {
            return false;
        }
        // A round of what waits is not asked for twice: that would bring all of it twice.
        let is_lasting = self.wishes.wish.extent == Extent::Lasting;
        if is_lasting && monitor.brings_events() && self.wishes.replaced.is_none() {
            self.replace_monitor();
        }
        true
    }
}

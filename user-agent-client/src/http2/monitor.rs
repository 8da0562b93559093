//! The monitoring request, which stays open: messages come as its promises (RFC 8030 §6.1) or as events in its answer.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use h2::client::{PushPromise, PushPromises};
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use push_protocol::session::user_agent::{ChannelEnd, Extent, Identity, Wish};
use url::Url;

use super::answer::{Head, is_refusal};
use super::events::{EventStream, Form, StreamEnd, StreamEvent, is_event_stream};
use super::no_answer::NoAnswer;
use super::request;
use super::sender::Sender;
use crate::retry_after;

/// A set that is monitored.
pub(super) struct Monitor {
    /// `None` over HTTP/1.1, which has no server push.
    promises: Option<PushPromises>,
    stage: Stage,
    form: Form,
    extent: Extent,
    is_begun_told: bool,
    /// A message came as an event.
    has_brought: bool,
    said: Option<Box<str>>,
    end: Option<MonitorEnd>,
}

enum Stage {
    /// The answer has not begun.
    Asked(Head),
    /// Messages come as events.
    Events(Box<EventStream>),
    /// Refused: the explanation is still being read.
    Explained(Pin<Box<dyn Future<Output = Option<Box<str>>> + Send>>, MonitorEnd),
    Over,
}

/// How monitoring ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MonitorEnd {
    /// The set is gone.
    Forgotten,
    /// All waiting messages were promised; `nothing`: there were none (R30-MON-13).
    CaughtUp { nothing: bool },
    /// The channel is of no use any more.
    Over(ChannelEnd),
}

impl Monitor {
    /// Begins to monitor. `None` if the connection takes no more requests: its own end says why.
    pub(super) fn begin(requests: &Sender, set: &Identity, wish: Wish, form: Form) -> Option<Self> {
        const URGENCY: HeaderName = HeaderName::from_static("urgency");
        const PREFER: HeaderName = HeaderName::from_static("prefer");
        const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
        let mut request = request(Method::GET, set.as_str())?;
        let fields = request.headers_mut();
        // Without the field everything comes (R30-URG-7).
        if wish.lowest != Wish::default().lowest {
            fields.insert(URGENCY, HeaderValue::from_static(wish.lowest.as_str()));
        }
        if wish.extent == Extent::Waiting {
            fields.insert(PREFER, HeaderValue::from_static("wait=0"));
        }
        if form == Form::Events {
            fields.insert(ACCEPT, EVENT_STREAM);
        }
        let (head, promises) = requests.monitor(request)?;
        Some(Self {
            promises,
            stage: Stage::Asked(head),
            form,
            extent: wish.extent,
            is_begun_told: false,
            has_brought: false,
            said: None,
            end: None,
        })
    }

    /// How messages come; before the answer has begun: how they were asked for.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Whether messages come as events now.
    pub(super) fn brings_events(&self) -> bool {
        matches!(self.stage, Stage::Events(_))
    }

    /// Whether events have begun to come, and the channel does not know that yet.
    pub(super) fn begins(&self) -> bool {
        self.brings_events() && !self.is_begun_told
    }

    /// [`begins`](Self::begins), once.
    pub(super) fn poll_begun(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_head(cx);
        let begins = self.begins();
        self.is_begun_told |= begins;
        begins
    }

    /// The next promise.
    ///
    /// The end of the promises tells nothing: a task that waits only for promises is not woken when the answer ends the stream. Watch
    /// the answer.
    pub(super) fn poll_promise(&mut self, cx: &mut Context<'_>) -> Poll<PushPromise> {
        let Some(promises) = &mut self.promises else {
            return Poll::Pending;
        };
        let next = pin!(promises.push_promise());
        match next.poll(cx) {
            Poll::Ready(Some(Ok(promise))) => Poll::Ready(promise),
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The next event; `None` when no more come: then [`poll_end`](Self::poll_end) says why.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>, home: &Url) -> Poll<Option<StreamEvent>> {
        self.poll_head(cx);
        let Stage::Events(stream) = &mut self.stage else {
            return Poll::Pending;
        };
        let heard = ready!(stream.poll(cx, home));
        if let StreamEvent::Over(over) = heard {
            self.events_end(over);
            return Poll::Ready(None);
        }
        self.has_brought |= matches!(heard, StreamEvent::Message(_));
        Poll::Ready(Some(heard))
    }

    /// How monitoring ended. All promises and events were returned before.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<MonitorEnd> {
        self.poll_head(cx);
        if let Stage::Explained(explanation, end) = &mut self.stage {
            let end = *end;
            self.said = ready!(explanation.as_mut().poll(cx));
            self.ends(end);
        }
        self.end.map_or(Poll::Pending, Poll::Ready)
    }

    /// What the service says about the end.
    pub(super) fn said(self) -> Option<Box<str>> {
        self.said
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) {
        let Stage::Asked(head) = &mut self.stage else {
            return;
        };
        let Poll::Ready(answer) = Pin::new(head).poll(cx) else {
            return;
        };
        let (head, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(error) => return self.ends(MonitorEnd::Over(broken(&error))),
        };
        if head.status == StatusCode::OK && is_event_stream(&head.headers) {
            self.form = Form::Events;
            self.stage = Stage::Events(Box::new(EventStream::of(body)));
            return;
        }
        let told = retry_after::read(&head.headers, SystemTime::now());
        let end = end_of_status(head.status.as_u16(), self.extent, told);
        if is_refusal(head.status) && !body.is_empty() {
            let explanation = async move { body.explanation(&head.headers).await };
            self.stage = Stage::Explained(Box::pin(explanation), end);
            return;
        }
        self.ends(end);
    }

    fn events_end(&mut self, over: StreamEnd) {
        let end = match over {
            StreamEnd::Told(status, said) => {
                self.said = said;
                end_of_status(status, self.extent, None)
            }
            // The waiting messages were asked for, and have come. An end without a message proves nothing: an empty queue is answered with 204.
            StreamEnd::Ended if self.extent == Extent::Waiting && self.has_brought => {
                MonitorEnd::CaughtUp { nothing: false }
            }
            StreamEnd::Ended => MonitorEnd::Over(ChannelEnd::Closed(None)),
            StreamEnd::Broken(error) => MonitorEnd::Over(broken(&error)),
            StreamEnd::Endless => MonitorEnd::Over(ChannelEnd::Garbled),
        };
        self.ends(end);
    }

    fn ends(&mut self, end: MonitorEnd) {
        self.stage = Stage::Over;
        self.end = Some(end);
    }
}

fn broken(error: &NoAnswer) -> ChannelEnd {
    error.of_http2().map_or(ChannelEnd::Lost, ended_by)
}

/// What the status of the answer means.
fn end_of_status(status: u16, extent: Extent, retry_after: Option<Duration>) -> MonitorEnd {
    match status {
        404 | 410 => MonitorEnd::Forgotten,
        200..=299 if extent == Extent::Waiting => MonitorEnd::CaughtUp {
            nothing: status == 204,
        },
        // Another connection monitors now, or the node leaves, or we read too slowly: come again.
        200..=299 | 408 => MonitorEnd::Over(ChannelEnd::Closed(None)),
        _ => MonitorEnd::Over(ChannelEnd::Refused { status, retry_after }),
    }
}

/// What an error of the connection or of the monitored stream means.
pub(super) fn ended_by(error: &h2::Error) -> ChannelEnd {
    let is_theirs = error.is_remote();
    match error.reason() {
        Some(h2::Reason::NO_ERROR) if error.is_go_away() && is_theirs => ChannelEnd::Closed(Some(1001)),
        Some(_) if is_theirs => ChannelEnd::Closed(None),
        _ if error.is_io() => ChannelEnd::Lost,
        _ => ChannelEnd::Garbled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-MON-11, R30-MON-13, R30-MON-17, R30-EXP-2: only 404 takes the set away; a service in trouble says for how long.
    #[test]
    fn what_the_end_of_monitoring_means() {
        let minute = Some(Duration::from_secs(60));
        let closed = MonitorEnd::Over(ChannelEnd::Closed(None));
        let refused = |status, retry_after| MonitorEnd::Over(ChannelEnd::Refused { status, retry_after });
        let rows = [
            (200, None, closed),
            (204, None, closed),
            (408, None, closed),
            (404, None, MonitorEnd::Forgotten),
            (400, None, refused(400, None)),
            (429, minute, refused(429, minute)),
            (503, minute, refused(503, minute)),
        ];
        for (status, told, expected) in rows {
            assert_eq!(end_of_status(status, Extent::Lasting, told), expected, "{status}");
            // Who asked for what waits has got it, and is told nothing else.
            let waited = match status {
                200 | 204 => MonitorEnd::CaughtUp {
                    nothing: status == 204,
                },
                _ => expected,
            };
            assert_eq!(end_of_status(status, Extent::Waiting, told), waited, "{status}");
        }
    }
}

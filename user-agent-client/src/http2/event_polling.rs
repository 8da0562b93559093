//! The channel's side of messages that come as events: when they are read, and when the set is asked for again.
//!
//! No ping proves that events still come: a proxy answers pings itself, and HTTP/1.1 has none. Only bytes on the stream prove it,
//! comments included. After as long a silence as the session allows, the set is asked for again; the answer is the proof. The
//! older request is read until the service ends it.

use std::task::{Context, Poll, ready};

use push_protocol::session::user_agent::{ChannelEnd, Extent};
use tokio::time::Instant;

use super::events::{Form, StreamEvent};
use super::incoming::Incoming;
use super::monitor::Monitor;
use super::{Channel, End};

/// Converts an event of the stream. The monitor keeps the stream's end, so here an end is only a sign of life.
fn incoming(heard: StreamEvent) -> Incoming {
    match heard {
        StreamEvent::Message(pushed) => Incoming::Pushed(pushed),
        StreamEvent::Nonsense => Incoming::Nonsense,
        StreamEvent::Alive | StreamEvent::Over(_) => Incoming::SignOfLife,
    }
}

impl Channel {
    /// Polls the events, and reports once that the service has begun to send them.
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
        // The replaced request first: it may still bring an older message than this one.
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
            // `poll` looks for the end.
            None => Poll::Pending,
        }
    }

    /// The service has answered, so the channel is live.
    pub(super) fn greeted(&mut self) -> Poll<Incoming> {
        self.is_greeting = false;
        Poll::Ready(
            self.set
                .clone()
                .map_or(Incoming::WithoutSet, Incoming::Monitoring),
        )
    }

    /// Whether only an answer to the monitoring request can prove that the service is there.
    pub(super) fn is_greeted_by_answer(&self) -> bool {
        self.is_greeting && !self.is_pinged
    }

    /// If the service refuses this form, asks for the set in the other form, once. Returns whether it asked.
    pub(super) fn changes_form(&mut self, ended: ChannelEnd) -> bool {
        let ChannelEnd::Refused { status, .. } = ended else {
            return false;
        };
        // Statuses with which our service, RFC 9110 and proxies refuse a form that they do not support.
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

    /// With events, a ping is another request for the set: makes it, and returns whether this is the form. While the last request
    /// is not answered, or the one before not ended, no further one is made.
    pub(super) fn pings_by_asking(&mut self) -> bool {
        let Some(monitor) = &self.monitor else {
            return false;
        };
        if monitor.form() == Form::Push {
            return false;
        }
        // A round of waiting messages is not asked for again: every message would come twice.
        let is_lasting = self.wishes.wish.extent == Extent::Lasting;
        if is_lasting && monitor.brings_events() && self.wishes.replaced.is_none() {
            self.replace_monitor();
        }
        true
    }
}

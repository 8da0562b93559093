//! Polls the parts of a channel. Each of them wakes the one task that holds the channel.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use push_protocol::session::user_agent::ChannelEnd;
use tokio::time::{Instant, sleep_until};

use super::incoming::Incoming;
use super::monitor::{Monitor, MonitorEnd, ended_by};
use super::requester::Requester;
use super::requests::{RequestContext, Requests};
use super::{Channel, End};
use crate::defaults::LEAVE_WITHIN;

impl Channel {
    pub(super) fn poll_connection(&mut self, cx: &mut Context<'_>) {
        let Some(http2) = &mut self.http2 else {
            return self.requester.requests.poll_idle(cx);
        };
        let (End::Open | End::Parting(_)) = self.end else {
            return;
        };
        let polled = Pin::new(&mut http2.connection).poll(cx);
        let goodbye = self.goodbye(cx);
        self.end = match (self.end, polled, goodbye) {
            (End::Parting(ended), Poll::Ready(_), _) | (_, Poll::Ready(_), Some(ended)) => End::Broken(ended),
            (_, Poll::Ready(Ok(())), None) => End::Broken(ChannelEnd::Lost),
            (_, Poll::Ready(Err(error)), None) => End::Broken(ended_by(&error)),
            (End::Open, Poll::Pending, Some(ended)) => {
                self.leaves_at = Some(Instant::now() + LEAVE_WITHIN);
                End::Parting(ended)
            }
            (end, Poll::Pending, _) => end,
        };
    }

    /// What GOAWAY means, if the service said it. No request is taken on this connection any more, an acknowledgement neither,
    /// however long a monitored stream stays open: so there has to be another one at once (PR-48).
    fn goodbye(&mut self, cx: &mut Context<'_>) -> Option<ChannelEnd> {
        match self.requester.requests.poll_ready(cx) {
            Poll::Ready(Err(error)) if error.is_go_away() && error.is_remote() => Some(ended_by(&error)),
            _ => None,
        }
    }

    /// Whether nothing more comes of a channel that parts: no message is on its way, and where the service said goodbye, no
    /// answer to an acknowledgement either.
    pub(super) fn is_finished(&self) -> bool {
        self.pushes.is_empty() && (self.leaves_at.is_none() || !self.acknowledgements.are_under_way())
    }

    pub(super) fn poll_parts(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Incoming> {
        if let Poll::Ready(incoming) = self.poll_pong(cx) {
            return Poll::Ready(incoming);
        }
        self.ask_when_due();
        if let Poll::Ready(incoming) = self.poll_events(cx, now) {
            return Poll::Ready(incoming);
        }
        if let Poll::Ready(incoming) = self.poll_monitor(cx, now) {
            return Poll::Ready(incoming);
        }
        if self.may_take()
            && let Poll::Ready(pushed) = self.pushes.poll(cx, &self.requester.home)
        {
            return Poll::Ready(Incoming::Pushed(pushed));
        }
        if let Poll::Ready(incoming) = self.poll_caught_up() {
            return Poll::Ready(incoming);
        }
        if let Poll::Ready(incoming) = self.poll_requests(cx) {
            return Poll::Ready(incoming);
        }
        let Requester { requests, home, .. } = &mut self.requester;
        let answered = self.acknowledgements.poll(cx, requests, home, now);
        answered.map(|wait| wait.map_or(Incoming::SignOfLife, Incoming::AcknowledgementsWait))
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if !self.is_pinged {
            return Poll::Pending;
        }
        // Where nothing is monitored over HTTP/1.1, each request has its own connection: there is nothing that could be gone.
        let pong = match &mut self.http2 {
            Some(http2) => ready!(http2.pings.poll_pong(cx)).map(drop),
            None => Ok(()),
        };
        self.is_pinged = false;
        match pong {
            // The connection tells why.
            Err(_) => Poll::Pending,
            Ok(()) if self.is_greeting => self.greeted(),
            Ok(()) => Poll::Ready(Incoming::SignOfLife),
        }
    }

    fn poll_monitor(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Incoming> {
        let may_take = self.may_take();
        if !self.poll_replaced(cx, may_take, now) {
            return Poll::Ready(Incoming::Nonsense);
        }
        let Some(monitor) = &mut self.monitor else {
            return Poll::Pending;
        };
        // Looked at first, so that all promises that came before it are there.
        let end = monitor.poll_end(cx);
        if monitor.begins() {
            // Events are looked at before this.
            cx.waker().wake_by_ref();
        }
        while may_take && let Poll::Ready(promise) = monitor.poll_promise(cx) {
            if !self.pushes.promised(promise, &self.requester.home) {
                return Poll::Ready(Incoming::Nonsense);
            }
        }
        let end = ready!(end);
        if matches!(end, MonitorEnd::CaughtUp { .. }) && self.is_greeted_by_answer() {
            return self.greeted();
        }
        if matches!(end, MonitorEnd::CaughtUp { .. }) && !may_take {
            // There may be promises.
            return Poll::Pending;
        }
        let said = self.monitor.take().and_then(Monitor::said);
        match end {
            MonitorEnd::Forgotten => {
                self.set = None;
                self.forget_monitors();
                self.is_greeting = false;
                Poll::Ready(Incoming::Forgotten)
            }
            MonitorEnd::CaughtUp { nothing } => {
                self.has_caught_up(nothing);
                Poll::Pending
            }
            MonitorEnd::Over(ended) => {
                if self.leaves_at.is_some() && ended == ChannelEnd::Closed(None) {
                    // It says no more than the goodbye did.
                    return Poll::Pending;
                }
                self.explanation = said.or(self.explanation.take());
                if self.changes_form(ended) {
                    // The new request is looked at from the beginning.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // It says more than that the connection ended with it.
                self.end = match self.end {
                    End::Broken(_) => End::Broken(ended),
                    End::Open | End::Parting(_) | End::Over(_) => End::Parting(ended),
                };
                Poll::Pending
            }
        }
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let context = RequestContext {
            requester: &self.requester,
            service: &self.service,
            set: self.set.as_ref(),
            may_leave_set: self.may_leave_set,
        };
        let incoming = ready!(self.requests.poll(cx, &context));
        if let Incoming::SubscriptionMade(_, made) = &incoming
            && self.set.as_ref() != Some(&made.set)
        {
            self.may_leave_set &= self.set.is_none();
            self.set = Some(made.set.clone());
            self.begin_monitoring();
        }
        Poll::Ready(incoming)
    }

    /// Ready when something may be sent again, or when the service owed us something for too long.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let owed = [self.pushes.due(), self.acknowledgements.overdue()];
        let owed = owed.into_iter().flatten().min();
        let due = [
            owed,
            self.acknowledgements.due(now),
            self.replaced_until(),
            self.leaves_at,
        ];
        let due = due.into_iter().flatten().min();
        let Some(due) = due else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        if owed.is_some_and(|owed| owed <= Instant::now()) {
            self.end = End::Broken(ChannelEnd::Lost);
        }
        if let End::Parting(ended) = self.end
            && self.leaves_at.is_some_and(|at| at <= Instant::now())
        {
            self.end = End::Broken(ended);
        }
        Poll::Ready(())
    }

    /// Ready when every acknowledgement was answered, or none can be any more.
    pub(super) fn poll_acknowledged(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.poll_connection(cx);
            let Requester { requests, home, .. } = &mut self.requester;
            let answered = self.acknowledgements.poll(cx, requests, home, Instant::now());
            if self.acknowledgements.is_empty() || matches!(self.end, End::Broken(_) | End::Over(_)) {
                return Poll::Ready(());
            }
            ready!(answered);
        }
    }

    /// Not before the session can take messages, and not while the service owes us so many answers.
    pub(super) fn may_take(&self) -> bool {
        !self.is_greeting && !self.acknowledgements.is_full()
    }

    pub(super) fn over(&mut self, ended: ChannelEnd) {
        self.end = End::Over(ended);
        self.forget_monitors();
        self.acknowledgements.give_up();
        self.requests = Requests::default();
        self.timer = None;
    }
}

//! How a session of monitors ends: what is owed is written, everybody is answered, and the seat is given up.

use std::sync::Arc;
use std::task::Context;

use futures_util::future::BoxFuture;
use push_protocol::session::{CloseReason, Moment};
use tokio::sync::mpsc;

use super::Monitor;
use super::end::Finish;
use super::outlet::Outlet;
use super::task::MonitorTask;
use crate::channels::Channels;
use crate::channels::attach::Attachment;
use crate::metrics::{Channel, Closed};

impl MonitorTask {
    pub(super) fn close(&mut self, reason: CloseReason, now: Moment) {
        if reason == CloseReason::GoingAway
            && let Some(link) = &self.link
        {
            link.leave();
        }
        if reason != CloseReason::CaughtUp {
            self.queue.clear();
        }
        let until = now.after(self.shared.limits.write_within);
        self.closing = Some((Finish::of(reason), until));
        (self.page, self.wanted) = (None, None);
    }

    /// Whether what is owed to the monitors of a closed session is done.
    fn is_through(&self) -> bool {
        let is_looked_for =
            self.checking.is_some() || self.monitors.iter().any(|monitor| !monitor.is_checked);
        self.is_written() && !(is_looked_for && self.is_attached)
    }

    /// Answers everybody when it's over, and begins to leave.
    pub(super) fn end_if_over(&mut self, cx: &Context<'_>, now: Moment) -> bool {
        if let Some((finish, until)) = self.closing
            && (self.is_through() || until <= now)
        {
            for monitor in std::mem::take(&mut self.monitors) {
                dismiss(monitor, finish, &self.shared);
            }
        }
        if !self.monitors.is_empty() {
            return false;
        }
        self.session.channel_ended();
        // Before the seat is given up, so that no comparison takes it again unnoticed.
        self.place.handle().set_cursor(None);
        self.delivering = None;
        self.leave = Some(self.begin_leave(cx));
        true
    }

    /// In order: what is asked of storage ends, acknowledgements are flushed (PR-18), the seat is given up if it's still ours.
    fn begin_leave(&mut self, cx: &Context<'_>) -> BoxFuture<'static, ()> {
        // Who comes now gets a session of its own, and so do those who have come while this one ended.
        let late = latecomers(self.entering.take());
        let (goods, link) = (self.goods, self.link.take());
        if let Some(link) = &link {
            link.left(self.user_agent, cx.waker());
        }
        self.wants_seat = None;
        let (attaching, acknowledging) = (self.attaching.take(), self.acknowledging.take());
        let mut messages = std::mem::take(&mut self.acknowledged);
        let (shared, seat) = (Arc::clone(&self.shared), self.place.handle().seat());
        let (user_agent, mut has_no_seat) = (self.user_agent, self.has_no_seat);
        Box::pin(async move {
            if let Some(attaching) = attaching {
                has_no_seat |= matches!(attaching.await, Attachment::NotAsked);
            }
            if let Some(acknowledging) = acknowledging {
                messages.extend(acknowledging.await);
            }
            if !messages.is_empty() && !has_no_seat {
                let _ = shared.broker.acknowledge(user_agent, &messages, seat).await;
            }
            for monitor in late {
                shared.enter(user_agent, goods, monitor, link.as_ref(), false);
            }
            if has_no_seat {
                return;
            }
            shared.broker.release(user_agent, seat).await;
            shared.registry.seat_given_up(user_agent, seat);
        })
    }
}

/// Those who came while the session was ending. Nobody enters behind them.
fn latecomers(entering: Option<mpsc::Receiver<Monitor>>) -> Vec<Monitor> {
    let Some(mut entering) = entering else {
        return Vec::new();
    };
    entering.close();
    std::iter::from_fn(|| entering.try_recv().ok()).collect()
}

/// Answers one monitor.
pub(super) fn dismiss(monitor: Monitor, finish: Finish, shared: &Channels) {
    count_closed(&monitor.outlet, finish.closed(), shared);
    monitor.outlet.finish(finish, monitor.has_brought);
}

pub(super) fn count_closed(outlet: &Outlet, why: Closed, shared: &Channels) {
    shared.metrics.channel(outlet.kind(), Channel::Closed(why));
}

//! How a session of monitors ends: what it owes is written, every request is answered, and the seat is given up.

use std::future::ready;
use std::sync::Arc;
use std::task::Context;

use futures_util::future::BoxFuture;
use push_protocol::session::{CloseReason, Moment};
use tokio::sync::mpsc;

use super::entering::enter;
use super::finish::Finish;
use super::request::Monitor;
use super::task::MonitorTask;

impl MonitorTask {
    /// The session is closed.
    pub(super) fn close(&mut self, reason: CloseReason, now: Moment) {
        if reason == CloseReason::GoingAway
            && let Some(link) = &self.link
        {
            link.pushes().leave();
        }
        if reason != CloseReason::CaughtUp {
            self.queue.clear();
        }
        let until = now.after(self.driver.shared.limits.write_within);
        self.closing = Some((Finish::of(reason), until));
        self.driver.stop_reading();
    }

    /// Whether what is owed to the monitors of a closed session is done.
    fn is_complete(&self) -> bool {
        let is_looked_for =
            self.checking.is_some() || self.monitors.iter().any(|monitor| !monitor.is_checked);
        self.is_written() && !(is_looked_for && self.driver.has_attached())
    }

    /// Answers every request when the session is over, and begins to leave.
    pub(super) fn end_if_over(&mut self, cx: &Context<'_>, now: Moment) -> bool {
        if let Some((finish, until)) = self.closing
            && (self.is_complete() || until <= now)
        {
            self.closed = finish.closed();
            for monitor in std::mem::take(&mut self.monitors) {
                monitor.dismiss(finish, &self.driver.shared.metrics);
            }
        }
        if !self.monitors.is_empty() {
            return false;
        }
        self.driver.ends(self.closed);
        self.driver.end();
        self.leave = Some(self.begin_leave(cx));
        true
    }

    /// A monitor that comes from now on gets a session of its own. So do monitors that have come while this one ended: after its
    /// acknowledgements are flushed, so that these messages are not offered to them.
    fn begin_leave(&mut self, cx: &Context<'_>) -> BoxFuture<'static, ()> {
        let late = latecomers(self.entering.take());
        let link = self.link.take();
        if let Some(link) = &link {
            link.left(self.user_agent, cx.waker());
        }
        let leave = self.driver.leave(ready(()));
        if late.is_empty() {
            return leave;
        }
        let (shared, user_agent, queue_kind) =
            (Arc::clone(&self.driver.shared), self.user_agent, self.queue_kind);
        Box::pin(async move {
            leave.await;
            for monitor in late {
                enter(&shared, user_agent, queue_kind, monitor, link.as_ref(), false);
            }
        })
    }
}

/// Monitors that came while the session was ending. None enters after them.
fn latecomers(entering: Option<mpsc::Receiver<Monitor>>) -> Vec<Monitor> {
    let Some(mut entering) = entering else {
        return Vec::new();
    };
    entering.close();
    std::iter::from_fn(|| entering.try_recv().ok()).collect()
}

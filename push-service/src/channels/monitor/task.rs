//! The task of one session of monitors: it carries out what the session decides.
//!
//! This file says what it does in which order. Whether what a monitor names exists is in `checks`, what it does with its peers in
//! `writing`, and how it ends in `leaving`.
//!
//! ```text
//!            seat taken          the last monitor left, or the session closed
//!  attaching ─────────► live ──────────────────────────────────────────────► leaving ──► gone
//!                                  what was offered to a monitor that asks once is written first
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use push_protocol::session::{Action, Moment, Wanted};
use push_protocol::{PushMessage, SubscriptionId, UserAgentId};
use tokio::sync::mpsc;

use super::connection::MonitorLink;
use super::finish::Finish;
use super::request::Monitor;
use crate::broker::QueueKind;
use crate::channels::driver::{ChannelCommand, Driver};
use crate::channels::shared::Shared;
use crate::defaults::MONITORS_PER_SESSION;
use crate::metrics::Closed;

/// A future: resolves when the last monitor was answered and the seat was given up.
pub(super) struct MonitorTask {
    pub(super) driver: Driver,
    pub(super) user_agent: UserAgentId,
    pub(super) queue_kind: QueueKind,
    pub(super) monitors: Vec<Monitor>,
    pub(super) entering: Option<mpsc::Receiver<Monitor>>,
    pub(super) link: Option<Arc<MonitorLink>>,
    /// Offered, and not yet written.
    pub(super) queue: VecDeque<Offered>,
    /// What the session has decided and was not done yet.
    pub(super) actions: Vec<Action>,
    /// Storage is asked whether a subscription exists that a monitor names.
    pub(super) checking: Option<BoxFuture<'static, (SubscriptionId, bool)>>,
    /// What the link is to confirm for the session's ping.
    pub(super) pinged: Option<u64>,
    /// How the last of the monitors ended.
    pub(super) closed: Closed,
    /// The session is closed: what is still in the queue is written until then, if it was asked for once.
    pub(super) closing: Option<(Finish, Moment)>,
    pub(super) leave: Option<BoxFuture<'static, ()>>,
}

/// A message that waits to be written.
pub(super) struct Offered {
    pub(super) message: Arc<PushMessage>,
    /// When its time to live is over (R30-TTL-6).
    pub(super) until: Moment,
}

impl Offered {
    fn new(message: Arc<PushMessage>, now: Moment) -> Self {
        // With TTL 0 it is written now or never, which is what happens to it here.
        let lasts = Duration::from_millis(message.remaining_ms.max(1));
        Self {
            until: now.after(lasts),
            message,
        }
    }
}

impl MonitorTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        user_agent: UserAgentId,
        queue_kind: QueueKind,
        first: Monitor,
        entering: Option<mpsc::Receiver<Monitor>>,
        link: Option<Arc<MonitorLink>>,
        once: bool,
    ) -> Self {
        first.count_opened(&shared.metrics);
        let mut actions = Vec::new();
        let wanted = Wanted::monitored([first.interest]);
        Self {
            driver: Driver::of_user_agent(
                shared,
                first.outlet.kind(),
                user_agent,
                wanted,
                once,
                &mut actions,
            ),
            user_agent,
            queue_kind,
            monitors: vec![first],
            entering,
            link,
            queue: VecDeque::new(),
            actions,
            checking: None,
            pinged: None,
            closed: Closed::Displaced,
            closing: None,
            leave: None,
        }
    }
}

impl Future for MonitorTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        task.driver.begin_poll(cx.waker());
        let polled = task.run(cx);
        if polled.is_pending() {
            task.driver.end_poll(task.next_due());
        }
        polled
    }
}

impl MonitorTask {
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.driver.shared.now();
        loop {
            if let Some(leave) = &mut self.leave {
                return leave.as_mut().poll(cx);
            }
            let mut busy = self.driver.take_marks(false, now, &mut self.actions);
            busy |= self.take_wake_ups(now);
            busy |= self.take_entering(cx, now);
            busy |= self.driver.take_steps(cx, now, &mut self.actions);
            busy |= self.take_check(cx);
            busy |= self.look_at_peers(cx, now);
            busy |= self.perform(now);
            busy |= self.driver.start_steps();
            busy |= self.check_subscription();
            busy |= self.write(cx, now);
            if !self.actions.is_empty() {
                // Writing made the session decide something: nothing else would wake us for a page, and an acknowledgement would
                // be lost with the end.
                continue;
            }
            busy |= self.end_if_over(cx, now);
            if !busy {
                return Poll::Pending;
            }
        }
    }

    fn next_due(&self) -> Moment {
        let until = self.monitors.iter().filter_map(|monitor| monitor.until).min();
        let closing = self.closing.map_or(Moment::NEVER, |(_, until)| until);
        let due = self.driver.next_due().min(closing);
        until.map_or(due, |until| due.min(until))
    }

    fn take_wake_ups(&mut self, now: Moment) -> bool {
        let (monitors, queue) = (&mut self.monitors, &mut self.queue);
        self.driver.take_wake_ups(now, &mut self.actions, |removed| {
            for monitor in monitors.iter_mut() {
                monitor.outlet.removed(removed);
            }
            queue.retain(|offered| !removed.contains(&offered.message.id));
        })
    }

    /// Takes in other monitors of the same user agent, on the same connection.
    fn take_entering(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut busy = false;
        while let Poll::Ready(Some(monitor)) = self.poll_entering(cx) {
            busy = true;
            self.add(monitor, now);
        }
        if busy {
            self.update_wanted(now);
        }
        busy
    }

    fn poll_entering(&mut self, cx: &mut Context<'_>) -> Poll<Option<Monitor>> {
        match self.entering.as_mut().filter(|_| self.closing.is_none()) {
            Some(entering) => entering.poll_recv(cx),
            None => Poll::Pending,
        }
    }

    fn add(&mut self, monitor: Monitor, now: Moment) {
        monitor.count_opened(&self.driver.shared.metrics);
        for older in &mut self.monitors {
            older.give_way_to(&monitor);
        }
        self.monitors.push(monitor);
        if self.monitors.len() > MONITORS_PER_SESSION {
            // The oldest makes room: a peer that asks so often has forgotten it.
            let oldest = self.remove(0, now);
            oldest.dismiss(Finish::Over, &self.driver.shared.metrics);
        }
    }

    /// Tells the session what the monitors want now.
    pub(super) fn update_wanted(&mut self, now: Moment) {
        let monitors = self.monitors.iter().filter(|monitor| !monitor.is_replaced);
        let wanted = Wanted::monitored(monitors.map(|monitor| monitor.interest));
        self.driver.session.set_wanted(wanted, now, &mut self.actions);
    }

    /// Does what the session decided.
    fn perform(&mut self, now: Moment) -> bool {
        let actions = std::mem::take(&mut self.actions);
        let busy = !actions.is_empty();
        for action in actions {
            if self.monitors.is_empty() && matches!(action, Action::Attach { .. }) {
                // All monitors have gone before: a seat would only end the monitoring of a newer session (PR-15).
                self.driver.renounce_seat();
                continue;
            }
            match self.driver.perform(action) {
                Some(ChannelCommand::Offer(message)) => self.queue.push_back(Offered::new(message, now)),
                Some(ChannelCommand::Ping) => self.ping(now),
                Some(ChannelCommand::Ended(which)) => self.ended(which, now),
                Some(ChannelCommand::Close(reason)) => self.close(reason, now),
                // The user agent of a monitor is known from the start, and nothing waits for a welcome.
                Some(ChannelCommand::Welcome(_)) | None => {}
            }
        }
        busy
    }

    fn ping(&mut self, now: Moment) {
        match &self.link {
            Some(link) => self.pinged = Some(link.pushes().ask()),
            // These peers cannot answer. A peer that takes nothing of what is written is noticed.
            None => self.driver.session.heard(now),
        }
    }

    /// A subscription ended, or all: monitors of it are told (R30-EXP-2).
    fn ended(&mut self, which: Option<SubscriptionId>, now: Moment) {
        let is_over = |monitor: &Monitor| which.is_none() || monitor.interest.subscription == which;
        let (over, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.monitors).into_iter().partition(is_over);
        self.monitors = others;
        if over.is_empty() {
            return;
        }
        self.closed = Closed::Ended;
        for monitor in over {
            monitor.dismiss(Finish::Gone, &self.driver.shared.metrics);
        }
        self.update_wanted(now);
    }
}

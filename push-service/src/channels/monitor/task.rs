//! The task of one session of monitors: it does what the session decides.
//!
//! Here is what it does in which order. What it asks of storage is in `asking`, what it has to do with its peers in
//! `writing`, and how it ends in `leaving`.
//!
//! ```text
//!            seat taken          the last monitor left, or the session closed
//!  attaching ─────────► live ──────────────────────────────────────────────► leaving ──► gone
//!                                  what was offered to one who asked once is written first
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use push_protocol::session::{Action, Moment, PageOutcome, PageRequest, Session, WakeUp, Wanted};
use push_protocol::{MessageId, PushMessage, SubscriptionId, UserAgentId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Monitor;
use super::end::Finish;
use super::leaving::dismiss;
use super::link::PushLink;
use crate::broker::Goods;
use crate::channels::Channels;
use crate::channels::attach::Attachment;
use crate::channels::handle::Mark;
use crate::channels::registry::Place;
use crate::defaults::{MONITORS_PER_SESSION, SHARE_WITHIN};
use crate::metrics::{Channel, Removed};

/// A future: resolves when the last monitor was answered and the seat was given up.
pub(super) struct MonitorTask {
    pub(super) shared: Arc<Channels>,
    pub(super) user_agent: UserAgentId,
    pub(super) goods: Goods,
    pub(super) place: Place,
    pub(super) session: Session,
    pub(super) monitors: Vec<Monitor>,
    pub(super) entering: Option<mpsc::Receiver<Monitor>>,
    pub(super) link: Option<Arc<PushLink>>,
    /// Offered, and not yet written.
    pub(super) queue: VecDeque<Offered>,
    /// What the session has decided and was not done yet.
    pub(super) actions: Vec<Action>,
    /// The share of the node's delivery bytes that `queue` holds.
    pub(super) delivering: Option<OwnedSemaphorePermit>,
    pub(super) attaching: Option<BoxFuture<'static, Attachment>>,
    /// Dropped when the seat is not wanted any more: then `attaching` waits for nothing.
    pub(super) wants_seat: Option<oneshot::Sender<Infallible>>,
    pub(super) page: Option<BoxFuture<'static, (PageOutcome, Option<OwnedSemaphorePermit>)>>,
    pub(super) wanted: Option<PageRequest>,
    pub(super) acknowledging: Option<BoxFuture<'static, Vec<MessageId>>>,
    pub(super) acknowledged: Vec<MessageId>,
    /// A subscription that a monitor names is looked for.
    pub(super) checking: Option<BoxFuture<'static, (SubscriptionId, bool)>>,
    /// What the link is to confirm for the session's ping.
    pub(super) pinged: Option<u64>,
    pub(super) is_attached: bool,
    pub(super) has_no_seat: bool,
    pub(super) leaving: bool,
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
        shared: Arc<Channels>,
        user_agent: UserAgentId,
        goods: Goods,
        first: Monitor,
        entering: Option<mpsc::Receiver<Monitor>>,
        link: Option<Arc<PushLink>>,
        once: bool,
    ) -> Self {
        let mut actions = Vec::new();
        let wanted = Wanted::monitored([first.interest]);
        let (limits, now) = (Arc::clone(&shared.limits), shared.now());
        let session = Session::monitor(user_agent, wanted, once, limits, now, &mut actions);
        shared.metrics.channel(first.outlet.kind(), Channel::Opened);
        Self {
            place: shared.registry.enter(),
            leaving: shared.is_leaving(),
            user_agent,
            goods,
            session,
            monitors: vec![first],
            entering,
            link,
            queue: VecDeque::new(),
            actions,
            delivering: None,
            attaching: None,
            wants_seat: None,
            page: None,
            wanted: None,
            acknowledging: None,
            acknowledged: Vec::new(),
            checking: None,
            pinged: None,
            is_attached: false,
            has_no_seat: false,
            closing: None,
            leave: None,
            shared,
        }
    }
}

impl Future for MonitorTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        task.place.handle().listen(cx.waker());
        let polled = task.run(cx);
        if polled.is_pending() {
            let handle = task.place.handle();
            handle.set_due(task.next_due());
            handle.set_cursor(task.session.cursor().filter(|_| task.leave.is_none()));
        }
        polled
    }
}

impl MonitorTask {
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.now();
        loop {
            if let Some(leave) = &mut self.leave {
                return leave.as_mut().poll(cx);
            }
            let mut busy = self.take_marks(now);
            busy |= self.take_wake_ups(now);
            busy |= self.take_entering(cx, now);
            busy |= self.take_answers(cx, now);
            busy |= self.look_at_peers(cx, now);
            busy |= self.perform(now);
            busy |= self.hand_over_acknowledged();
            busy |= self.read_page();
            busy |= self.check_subscription();
            busy |= self.write(cx, now);
            if !self.actions.is_empty() {
                // What writing made the session decide: nothing else would wake us for a page, and an acknowledgement would be
                // lost with the end.
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
        let stalled = match self.delivering {
            Some(_) => self.shared.now().after(SHARE_WITHIN),
            None => Moment::NEVER,
        };
        let due = self.session.next_due().min(closing).min(stalled);
        until.map_or(due, |until| due.min(until))
    }

    fn take_marks(&mut self, now: Moment) -> bool {
        let marks = self.place.handle().take_marks();
        self.leaving |= marks.has(Mark::Drain);
        let drains = self.leaving && self.attaching.is_none();
        let is_in_the_way = || self.delivering.is_some() && self.shared.is_short_of_shares();
        marks.tell(&mut self.session, drains, is_in_the_way, now, &mut self.actions);
        marks.any()
    }

    fn take_wake_ups(&mut self, now: Moment) -> bool {
        let wake_ups = self.place.handle().take_wake_ups();
        let busy = !wake_ups.is_empty();
        for wake_up in wake_ups {
            if let WakeUp::Removed(ids) = &wake_up {
                self.monitors
                    .iter_mut()
                    .for_each(|monitor| monitor.outlet.left(ids));
                self.queue.retain(|offered| !ids.contains(&offered.message.id));
            }
            self.session.woken(wake_up, now, &mut self.actions);
        }
        busy
    }

    /// Other monitors of the same user agent, on the same connection.
    fn take_entering(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut busy = false;
        while let Poll::Ready(Some(monitor)) = self.poll_entering(cx) {
            busy = true;
            self.take_in(monitor, now);
        }
        if busy {
            self.want(now);
        }
        busy
    }

    fn poll_entering(&mut self, cx: &mut Context<'_>) -> Poll<Option<Monitor>> {
        match self.entering.as_mut().filter(|_| self.closing.is_none()) {
            Some(entering) => entering.poll_recv(cx),
            None => Poll::Pending,
        }
    }

    fn take_in(&mut self, monitor: Monitor, now: Moment) {
        self.shared
            .metrics
            .channel(monitor.outlet.kind(), Channel::Opened);
        self.monitors
            .iter_mut()
            .for_each(|older| older.give_place_to(&monitor));
        self.monitors.push(monitor);
        if self.monitors.len() > MONITORS_PER_SESSION {
            // The oldest makes room: whoever asks so often has forgotten it.
            let oldest = self.part_with(0, now);
            dismiss(oldest, Finish::Over, &self.shared);
        }
    }

    /// Tells the session what the monitors want now.
    pub(super) fn want(&mut self, now: Moment) {
        let monitors = self.monitors.iter().filter(|monitor| !monitor.is_replaced);
        let wanted = Wanted::monitored(monitors.map(|monitor| monitor.interest));
        self.session.set_wanted(wanted, now, &mut self.actions);
    }

    /// Does what the session decided.
    fn perform(&mut self, now: Moment) -> bool {
        let actions = std::mem::take(&mut self.actions);
        let busy = !actions.is_empty();
        for action in actions {
            match action {
                Action::Offer(message) => self.queue.push_back(Offered::new(message, now)),
                Action::Attach { user_agent, head } => self.attach(user_agent, head),
                Action::Page(request) => self.wanted = Some(request),
                Action::Acknowledge(messages) => self.acknowledged.extend(messages),
                Action::Ping => self.ping(now),
                Action::Unheard => self.shared.metrics.removed(Removed::Unheard, 1),
                Action::Unacknowledged(count) => self.shared.metrics.unacknowledged(count as u64),
                Action::Ended(which) => self.ended(which, now),
                Action::Close(reason) => self.close(reason, now),
                // A monitor is known from the start: nobody waits for a welcome.
                Action::Welcome { .. } => {}
            }
        }
        busy
    }

    fn ping(&mut self, now: Moment) {
        match &self.link {
            Some(link) => self.pinged = Some(link.ask()),
            // What is written to them and not taken is noticed; they have nothing to answer with.
            None => self.session.heard(now),
        }
    }

    /// Something ended: whoever monitors it is told (R30-EXP-2).
    fn ended(&mut self, which: Option<SubscriptionId>, now: Moment) {
        let is_over = |monitor: &Monitor| which.is_none() || monitor.interest.subscription == which;
        let (over, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.monitors).into_iter().partition(is_over);
        self.monitors = others;
        if over.is_empty() {
            return;
        }
        for monitor in over {
            dismiss(monitor, Finish::Gone, &self.shared);
        }
        self.want(now);
    }
}

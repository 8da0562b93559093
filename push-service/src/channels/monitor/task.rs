//! The task of one session of monitors: it does what the session decides.
//!
//! ```text
//!            seat taken          the last monitor left, or the session closed
//!  attaching ─────────► live ──────────────────────────────────────────────► leaving ──► gone
//!                                  what was offered to one who asked once is written first
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use push_protocol::session::{
    Action, CloseReason, Moment, PageOutcome, PageRequest, Session, WakeUp, Wanted,
};
use push_protocol::{MessageId, PushMessage, SubscriptionId, UserAgentId};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Monitor;
use super::end::Finish;
use super::link::PushLink;
use super::outlet::Outlet;
use crate::broker::Goods;
use crate::channels::Channels;
use crate::channels::attach::Attachment;
use crate::channels::handle::Mark;
use crate::channels::poll_slot;
use crate::channels::registry::Place;
use crate::defaults::{MONITORS_PER_SESSION, SHARE_WITHIN, STORAGE_RETRY_AFTER};
use crate::metrics::{Channel, Closed, Removed};
use push_protocol::session::AttachOutcome;

/// A future: resolves when the last monitor was answered and the seat was given up.
pub(super) struct MonitorTask {
    pub(super) shared: Arc<Channels>,
    pub(super) user_agent: UserAgentId,
    pub(super) goods: Goods,
    pub(super) place: Place,
    pub(super) session: Session,
    pub(super) monitors: Vec<Monitor>,
    entering: Option<mpsc::Receiver<Monitor>>,
    pub(super) link: Option<Arc<PushLink>>,
    /// Offered, and not yet written.
    pub(super) queue: VecDeque<Offered>,
    /// What the session has decided and was not done yet.
    pub(super) actions: Vec<Action>,
    /// The share of the node's delivery bytes that `queue` holds.
    pub(super) delivering: Option<OwnedSemaphorePermit>,
    attaching: Option<BoxFuture<'static, Attachment>>,
    page: Option<BoxFuture<'static, (PageOutcome, Option<OwnedSemaphorePermit>)>>,
    wanted: Option<PageRequest>,
    acknowledging: Option<BoxFuture<'static, Vec<MessageId>>>,
    acknowledged: Vec<MessageId>,
    /// A subscription that a monitor names is looked for.
    checking: Option<BoxFuture<'static, (SubscriptionId, bool)>>,
    /// What the link is to confirm for the session's ping.
    pub(super) pinged: Option<u64>,
    is_attached: bool,
    has_no_seat: bool,
    leaving: bool,
    /// The session is closed: what is still in the queue is written until then, if it was asked for once.
    closing: Option<(Finish, Moment)>,
    leave: Option<BoxFuture<'static, ()>>,
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
        shared
            .broker
            .metrics()
            .channel(first.outlet.kind(), Channel::Opened);
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
        let out = &mut self.actions;
        if marks.has(Mark::Tick) {
            self.session.tick(now, out);
            if self.delivering.is_some() && self.shared.is_short_of_shares() {
                self.session.give_way(SHARE_WITHIN, now, out);
            }
        }
        if marks.has(Mark::Displaced) {
            self.session.close(CloseReason::Displaced, out);
        }
        if marks.has(Mark::Stop) {
            self.session.close(CloseReason::ServiceRestart, out);
        }
        self.leaving |= marks.has(Mark::Drain);
        if self.leaving && self.attaching.is_none() {
            self.session.drain(now, out);
        }
        if marks.has(Mark::ReadAgain) {
            self.session.read_again(now, out);
        }
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
        let Some(entering) = self.entering.as_mut().filter(|_| self.closing.is_none()) else {
            return false;
        };
        let mut busy = false;
        while let Poll::Ready(Some(monitor)) = entering.poll_recv(cx) {
            busy = true;
            let metrics = self.shared.broker.metrics();
            metrics.channel(monitor.outlet.kind(), Channel::Opened);
            self.monitors.push(monitor);
            if self.monitors.len() > MONITORS_PER_SESSION {
                // The oldest makes room: whoever asks so often has forgotten it.
                let oldest = self.monitors.remove(0);
                dismiss(oldest, Finish::Over, &self.shared);
            }
        }
        if busy {
            self.want(now);
        }
        busy
    }

    /// Tells the session what the monitors want now.
    pub(super) fn want(&mut self, now: Moment) {
        let interests = self.monitors.iter().map(|monitor| monitor.interest);
        let wanted = Wanted::monitored(interests);
        self.session.set_wanted(wanted, now, &mut self.actions);
    }

    fn take_answers(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut busy = false;
        if let Some(attachment) = poll_slot(&mut self.attaching, cx) {
            let outcome = match attachment {
                Attachment::Asked(outcome, share) => {
                    self.hold(share);
                    outcome
                }
                Attachment::NotAsked => {
                    self.has_no_seat = true;
                    AttachOutcome::Trouble
                }
            };
            self.is_attached = true;
            self.session.attached(outcome, now, &mut self.actions);
            if self.leaving {
                self.session.drain(now, &mut self.actions);
            }
            busy = true;
        }
        if let Some((outcome, share)) = poll_slot(&mut self.page, cx) {
            self.hold(share);
            self.session.paged(outcome, now, &mut self.actions);
            busy = true;
        }
        if let Some(not_taken) = poll_slot(&mut self.acknowledging, cx) {
            self.acknowledged.extend(not_taken);
            busy = true;
        }
        if let Some((subscription, is_there)) = poll_slot(&mut self.checking, cx) {
            if !is_there {
                self.actions.push(Action::Ended(Some(subscription)));
            }
            busy = true;
        }
        busy
    }

    /// Keeps a share until what it was for is written; two are one.
    fn hold(&mut self, share: Option<OwnedSemaphorePermit>) {
        match (&mut self.delivering, share) {
            (Some(held), Some(more)) => held.merge(more),
            (held @ None, share) => *held = share,
            (Some(_), None) => {}
        }
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
                Action::Unheard => self.shared.broker.metrics().removed(Removed::Unheard, 1),
                Action::Unacknowledged(count) => self.shared.broker.metrics().unacknowledged(count as u64),
                Action::Ended(which) => self.ended(which, now),
                Action::Close(reason) => self.close(reason, now),
                // A monitor is known from the start: nobody waits for a welcome.
                Action::Welcome { .. } => {}
            }
        }
        busy
    }

    /// Enters the registry, then takes the seat: a wake-up between the two is not lost (PR-11).
    ///
    /// Whose monitors have all gone before takes none: it would end a newer one's monitoring, for nobody (PR-15).
    fn attach(&mut self, user_agent: UserAgentId, head: PageRequest) {
        if self.monitors.is_empty() {
            self.has_no_seat = true;
            return;
        }
        self.place.claim(user_agent);
        let (shared, seat) = (Arc::clone(&self.shared), self.place.handle().seat());
        self.attaching = Some(Box::pin(
            async move { shared.attach(user_agent, seat, head).await },
        ));
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
        let (over, others) = std::mem::take(&mut self.monitors).into_iter().partition(is_over);
        self.monitors = others;
        let none: &Vec<Monitor> = &over;
        let changed = !none.is_empty();
        for monitor in over {
            dismiss(monitor, Finish::Gone, &self.shared);
        }
        if changed {
            self.want(now);
        }
    }

    fn close(&mut self, reason: CloseReason, now: Moment) {
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

    /// One step of storage for all that is acknowledged by then.
    fn hand_over_acknowledged(&mut self) -> bool {
        if self.acknowledged.is_empty() || self.acknowledging.is_some() {
            return false;
        }
        let messages = std::mem::take(&mut self.acknowledged);
        let (shared, seat, user_agent) = (
            Arc::clone(&self.shared),
            self.place.handle().seat(),
            self.user_agent,
        );
        self.acknowledging = Some(Box::pin(async move {
            match shared.broker.acknowledge(user_agent, &messages, seat).await {
                Ok(()) => Vec::new(),
                Err(_) => {
                    tokio::time::sleep(STORAGE_RETRY_AFTER).await;
                    messages
                }
            }
        }));
        true
    }

    /// Reads the page that is wanted, after storage has all acknowledgements so far (PR-4).
    fn read_page(&mut self) -> bool {
        if self.acknowledging.is_some() || !self.acknowledged.is_empty() {
            return false;
        }
        let Some(request) = self.wanted.take() else {
            return false;
        };
        let (shared, seat, user_agent) = (
            Arc::clone(&self.shared),
            self.place.handle().seat(),
            self.user_agent,
        );
        self.page = Some(Box::pin(async move {
            let share = shared.share_of_delivery(request.bytes).await;
            (shared.broker.page(user_agent, seat, request).await, share)
        }));
        true
    }

    /// Looks for the subscription of a monitor that has a seat: from then on its end would be told. One at a time.
    fn check_subscription(&mut self) -> bool {
        if self.checking.is_some() || !self.is_attached {
            return false;
        }
        let Some(monitor) = self.monitors.iter_mut().find(|monitor| !monitor.is_checked) else {
            return false;
        };
        monitor.is_checked = true;
        let Some(subscription) = monitor.interest.subscription else {
            return true;
        };
        let (shared, user_agent) = (Arc::clone(&self.shared), self.user_agent);
        self.checking = Some(Box::pin(async move {
            let asked = shared.broker.has_subscription(user_agent, subscription).await;
            // Trouble says nothing about it (PR-3).
            (subscription, asked.unwrap_or(true))
        }));
        true
    }

    /// Whether what is owed to the monitors of a closed session is done.
    fn is_through(&self) -> bool {
        let is_looked_for =
            self.checking.is_some() || self.monitors.iter().any(|monitor| !monitor.is_checked);
        self.is_written() && !(is_looked_for && self.is_attached)
    }

    /// Answers everybody when it's over, and begins to leave.
    fn end_if_over(&mut self, cx: &Context<'_>, now: Moment) -> bool {
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
        self.session.ended();
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
    shared
        .broker
        .metrics()
        .channel(outlet.kind(), Channel::Closed(why));
}

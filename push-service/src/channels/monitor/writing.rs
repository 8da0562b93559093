//! What a session's task does with the peers of its monitors: they leave, refuse, confirm, and are written to.

use std::sync::Arc;
use std::task::Context;

use push_protocol::PushMessage;
use push_protocol::session::Moment;

use super::finish::Finish;
use super::outlet::Outlet;
use super::parcel::{Parcel, Written};
use super::request::Monitor;
use super::task::MonitorTask;
use crate::broker::QueueKind;
use crate::metrics::Closed;
use crate::resources::{promise_url, push_url, receipt};

impl MonitorTask {
    /// Notices monitors that have gone or whose time is over, and messages that were refused or have arrived.
    pub(super) fn look_at_peers(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut busy = self.dismiss_gone(cx, now);
        let (mut refused, mut confirmed) = (Vec::new(), Vec::new());
        // What is not taken now stays in the delivery window.
        let has_room = self.driver.has_room_for_acknowledgements();
        for monitor in &mut self.monitors {
            if let Outlet::Push(pushes) = &mut monitor.outlet {
                refused.extend(pushes.take_refused());
                if has_room {
                    confirmed.extend(pushes.take_confirmed());
                }
            }
        }
        busy |= !refused.is_empty() || !confirmed.is_empty();
        for id in refused {
            self.driver.session.refused(id, now, &mut self.actions);
        }
        if self.queue_kind == QueueKind::Receipts && !confirmed.is_empty() {
            // A receipt that has arrived is acknowledged: nothing else would do it (PR-25).
            self.driver.session.acknowledge(confirmed, now, &mut self.actions);
        }
        self.hear_pong(now);
        busy
    }

    fn dismiss_gone(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let is_cut = self
            .link
            .as_ref()
            .is_some_and(|link| !link.pushes().listen(cx.waker()));
        let before = self.monitors.len();
        let mut at = 0;
        while at < self.monitors.len() {
            let monitor = &mut self.monitors[at];
            if is_cut || monitor.outlet.poll_gone(cx).is_ready() {
                let gone = self.remove(at, now);
                let why = if is_cut { Closed::Lost } else { Closed::Left };
                gone.count_closed(why, &self.driver.shared.metrics);
                self.closed = why;
            } else if monitor.outlet.is_over() {
                // The peer has sent GOAWAY. Messages that were not promised stay stored for its next connection (RFC
                // 9113 §6.8).
                let over = self.remove(at, now);
                over.dismiss(Finish::Over, &self.driver.shared.metrics);
            } else if monitor.until.is_some_and(|until| until <= now) && self.queue.is_empty() {
                let over = self.remove(at, now);
                over.dismiss(Finish::Complete, &self.driver.shared.metrics);
                self.closed = Finish::Complete.closed();
            } else {
                at += 1;
            }
        }
        let changed = self.monitors.len() < before;
        if changed && !self.monitors.is_empty() {
            self.update_wanted(now);
        }
        changed
    }

    /// Removes a monitor from the session. Its unfinished message may be sent to another monitor.
    pub(super) fn remove(&mut self, at: usize, now: Moment) -> Monitor {
        let mut monitor = self.monitors.remove(at);
        if let Some(id) = monitor.outlet.cancel() {
            self.driver.session.refused(id, now, &mut self.actions);
        }
        monitor
    }

    fn hear_pong(&mut self, now: Moment) {
        let confirmed = self.link.as_ref().map_or(0, |link| link.pushes().confirmed());
        if self.pinged.is_some_and(|asked| asked <= confirmed) {
            self.pinged = None;
            self.driver.session.heard(now);
        }
    }

    /// Writes what is offered, one message after the other, and tells the session whether there is room for more.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let is_live = self.driver.session.is_live();
        let mut is_free = true;
        for monitor in &mut self.monitors {
            if is_live {
                monitor.outlet.begin();
            }
            is_free &= monitor.outlet.poll_idle(cx).is_ready();
        }
        let mut busy = false;
        while let Some(offered) = self.queue.front() {
            let (message, is_over) = (Arc::clone(&offered.message), offered.until < now);
            let Some(at) = self.monitor_of(&message).filter(|_| !is_over) else {
                // Its time is over, or the monitor that wanted it has left: then it stays stored.
                self.queue.pop_front();
                self.driver.session.refused(message.id, now, &mut self.actions);
                busy = true;
                continue;
            };
            if self.monitors[at].outlet.poll_ready(cx).is_pending() {
                break;
            }
            self.queue.pop_front();
            self.write_to(at, &message, now);
            busy = true;
        }
        if self.queue.is_empty() {
            self.driver.keep_share(0);
        }
        busy |= self.dismiss_replaced();
        let is_writable = is_free && self.queue.is_empty();
        self.driver
            .session
            .set_writable(is_writable, now, &mut self.actions);
        busy
    }

    /// Ends monitors that a newer one replaces, once everything that was pushed on them has arrived: no message gets lost between
    /// the two, and none comes twice.
    fn dismiss_replaced(&mut self) -> bool {
        let is_over = |monitor: &mut Monitor| monitor.is_replaced && monitor.outlet.is_settled();
        let over: Vec<_> = self.monitors.extract_if(.., is_over).collect();
        let busy = !over.is_empty();
        for monitor in over {
            monitor.dismiss(Finish::Over, &self.driver.shared.metrics);
        }
        busy
    }

    /// Whether nothing is left to be written. Receipts must also have arrived, because only then they leave storage.
    pub(super) fn is_written(&self) -> bool {
        let arrives = self.queue_kind == QueueKind::Receipts;
        self.queue.is_empty()
            && self
                .monitors
                .iter()
                .all(|monitor| monitor.outlet.is_flushed(arrives))
    }

    /// The monitor that asked for exactly this subscription, or else one that asked for all.
    fn monitor_of(&self, message: &PushMessage) -> Option<usize> {
        let covers = |exact: bool| {
            self.monitors.iter().position(|monitor| {
                !monitor.is_replaced
                    && monitor.interest.subscription.is_some() == exact
                    && monitor.interest.covers(message.subscription, message.urgency)
            })
        };
        covers(true).or_else(|| covers(false))
    }

    fn write_to(&mut self, at: usize, message: &PushMessage, now: Moment) {
        let broker = &self.driver.shared.broker;
        let message_url = promise_url(broker, self.user_agent, message);
        let parcel = match self.queue_kind {
            QueueKind::Messages => Parcel::Message {
                message,
                message_url,
                push_url: push_url(broker, self.user_agent, message),
            },
            QueueKind::Receipts => match receipt(broker, message) {
                Some(receipt) => Parcel::Receipt {
                    message,
                    receipt,
                    acknowledge: message_url,
                },
                // This is no receipt that can be sent, and it would be read again without end.
                None => {
                    self.driver
                        .session
                        .acknowledge(vec![message.id], now, &mut self.actions);
                    return;
                }
            },
        };
        let monitor = &mut self.monitors[at];
        monitor.outlet.begin();
        match monitor.outlet.write(&parcel) {
            Written::Yes => {
                monitor.has_delivered = true;
                self.driver.offered(message);
            }
            Written::Known => {
                self.driver
                    .session
                    .acknowledge(vec![message.id], now, &mut self.actions);
            }
            Written::No => {
                // The request is gone, or its connection takes no more pushes: the next request gets the message.
                self.driver.session.refused(message.id, now, &mut self.actions);
                let monitor = self.monitors.remove(at);
                monitor.dismiss(Finish::Over, &self.driver.shared.metrics);
                self.update_wanted(now);
            }
        }
    }
}

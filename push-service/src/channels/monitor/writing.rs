//! What a session's task has to do with the peers of its monitors: they leave, refuse, confirm, and are written to.

use std::sync::Arc;
use std::task::{Context, Poll};

use push_protocol::PushMessage;
use push_protocol::session::Moment;

use super::Monitor;
use super::end::Finish;
use super::leaving::{count_closed, dismiss};
use super::outlet::{Outlet, Parcel, Written};
use super::task::MonitorTask;
use crate::broker::{Goods, waited};
use crate::metrics::Closed;

impl MonitorTask {
    /// Notices who has gone, whose time is over, what was refused and what has arrived.
    pub(super) fn look_at_peers(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut busy = self.dismiss_gone(cx, now);
        let (mut refused, mut confirmed) = (Vec::new(), Vec::new());
        for monitor in &mut self.monitors {
            if let Outlet::Push(pushes) = &mut monitor.outlet {
                refused.extend(pushes.take_refused());
                confirmed.extend(pushes.take_confirmed());
            }
        }
        busy |= !refused.is_empty() || !confirmed.is_empty();
        for id in refused {
            self.session.refused(id, now, &mut self.actions);
        }
        if self.goods == Goods::Receipts && !confirmed.is_empty() {
            // It has arrived: nothing else would say so (PR-25).
            self.session.acknowledge(confirmed, now, &mut self.actions);
        }
        self.hear_pong(now);
        busy
    }

    fn dismiss_gone(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let is_cut = self.link.as_ref().is_some_and(|link| !link.listen(cx.waker()));
        let before = self.monitors.len();
        let mut at = 0;
        while at < self.monitors.len() {
            let monitor = &mut self.monitors[at];
            if is_cut || monitor.outlet.poll_gone(cx).is_ready() {
                let gone = self.part_with(at, now);
                count_closed(
                    &gone.outlet,
                    if is_cut { Closed::Lost } else { Closed::Left },
                    &self.shared,
                );
            } else if monitor.outlet.is_over() {
                // The peer has sent GOAWAY. Messages that were not promised stay stored for its next connection (RFC
                // 9113 §6.8).
                let over = self.part_with(at, now);
                dismiss(over, Finish::Over, &self.shared);
            } else if monitor.until.is_some_and(|until| until <= now) && self.queue.is_empty() {
                let over = self.part_with(at, now);
                dismiss(over, Finish::Through, &self.shared);
            } else {
                at += 1;
            }
        }
        let changed = self.monitors.len() < before;
        if changed && !self.monitors.is_empty() {
            self.want(now);
        }
        changed
    }

    /// Takes a monitor from among the others. What it was being brought is theirs, if they want it.
    pub(super) fn part_with(&mut self, at: usize, now: Moment) -> Monitor {
        let mut monitor = self.monitors.remove(at);
        if let Some(id) = monitor.outlet.break_off() {
            self.session.refused(id, now, &mut self.actions);
        }
        monitor
    }

    fn hear_pong(&mut self, now: Moment) {
        let confirmed = self.link.as_ref().map_or(0, |link| link.confirmed());
        if self.pinged.is_some_and(|asked| asked <= confirmed) {
            self.pinged = None;
            self.session.heard(now);
        }
    }

    /// Writes what is offered, one message after the other, and tells the session whether there is room for more.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let is_live = self.session.is_live();
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
                // Its time is over, or whoever wanted it has left: then it stays stored.
                self.queue.pop_front();
                self.session.refused(message.id, now, &mut self.actions);
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
            self.delivering = None;
        }
        busy |= self.dismiss_replaced();
        let is_writable = is_free && self.queue.is_empty();
        self.session.set_writable(is_writable, now, &mut self.actions);
        busy
    }

    /// Ends those whose place a newer one has, once all that they were brought has arrived: nothing gets lost between the two,
    /// and nothing comes twice.
    fn dismiss_replaced(&mut self) -> bool {
        let is_over = |monitor: &mut Monitor| monitor.is_replaced && monitor.outlet.is_settled();
        let over: Vec<_> = self.monitors.extract_if(.., is_over).collect();
        let busy = !over.is_empty();
        for monitor in over {
            dismiss(monitor, Finish::Over, &self.shared);
        }
        busy
    }

    /// Whether nothing is left to be written; of receipts, whether all have arrived, for only then they leave storage.
    pub(super) fn is_written(&self) -> bool {
        let arrives = self.goods == Goods::Receipts;
        self.queue.is_empty()
            && self
                .monitors
                .iter()
                .all(|monitor| monitor.outlet.is_flushed(arrives))
    }

    /// The one that asked for exactly this subscription, or else for all.
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
        let broker = &self.shared.broker;
        let message_url = broker.promise_url(self.user_agent, message);
        let parcel = match self.goods {
            Goods::Messages => Parcel::Message {
                message,
                message_url,
                push_url: broker.push_url_of(self.user_agent, message),
            },
            Goods::Receipts => match broker.receipt(message) {
                Some(told) => Parcel::Receipt {
                    message,
                    told,
                    acknowledge: message_url,
                },
                // Nothing that anybody could be told: it would come again for ever.
                None => {
                    self.session.acknowledge(vec![message.id], now, &mut self.actions);
                    return;
                }
            },
        };
        let monitor = &mut self.monitors[at];
        monitor.outlet.begin();
        match monitor.outlet.write(&parcel) {
            Written::Yes => {
                monitor.has_brought = true;
                self.shared.metrics.delivered(waited(message.id.number));
            }
            Written::Known => {
                self.session.acknowledge(vec![message.id], now, &mut self.actions);
            }
            Written::No => {
                // Its request is gone, or it takes pushes no more: whoever asks again is told.
                self.session.refused(message.id, now, &mut self.actions);
                let monitor = self.monitors.remove(at);
                dismiss(monitor, Finish::Over, &self.shared);
                self.want(now);
            }
        }
    }
}

impl Monitor {
    /// A newer request for the same, on the same connection, takes this one's place (R30-MON-18). Pages that listen to events
    /// don't know of each other, and stay beside each other.
    pub(super) fn give_place_to(&mut self, newer: &Self) {
        let is_pushed = |monitor: &Self| matches!(monitor.outlet, Outlet::Push(_));
        let is_the_same = self.interest.subscription == newer.interest.subscription;
        self.is_replaced |= is_the_same && is_pushed(self) && is_pushed(newer);
    }
}

impl Outlet {
    /// Keeps the connection alive while nothing is written; says whether what was written is taken.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Push(pushes) => pushes.poll_flushed(cx),
            Self::Events(events) => events.poll_ready(cx),
        }
    }

    fn is_flushed(&self, arrived: bool) -> bool {
        match self {
            Self::Push(pushes) => pushes.is_flushed(arrived),
            Self::Events(_) => true,
        }
    }

    /// These messages are acknowledged or gone, so their streams are free.
    pub(super) fn left(&mut self, ids: &[push_protocol::MessageId]) {
        if let Self::Push(pushes) = self {
            pushes.left(ids);
        }
    }
}

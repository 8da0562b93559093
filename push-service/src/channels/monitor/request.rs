//! One monitoring request, and how it is answered when it is over.

use std::convert::Infallible;

use push_protocol::session::{Interest, Moment};
use tokio::sync::oneshot;

use super::finish::Finish;
use super::outlet::Outlet;
use crate::metrics::{Channel, Closed, Label as _, Metrics};

/// One monitoring request.
pub(super) struct Monitor {
    pub(super) interest: Interest,
    pub(super) outlet: Outlet,
    /// When it is over, whatever has come.
    pub(super) until: Option<Moment>,
    /// Whether something was delivered.
    pub(super) has_delivered: bool,
    /// A newer request replaces it: it ends when everything that was pushed on it has arrived.
    pub(super) is_replaced: bool,
    /// The subscription that it names was looked for, after the seat was taken: an end before that would not be announced.
    pub(super) is_checked: bool,
    /// Dropped when the request is over.
    pub(super) _request: oneshot::Sender<Infallible>,
}

impl Monitor {
    /// Counts it among the open channels. Followed by [`Monitor::dismiss`] or [`Monitor::count_closed`].
    pub(super) fn count_opened(&self, metrics: &Metrics) {
        metrics.channel(self.outlet.kind(), Channel::Opened);
    }

    pub(super) fn count_closed(&self, why: Closed, metrics: &Metrics) {
        tracing::debug!(reason = why.as_str(), "a monitor ends");
        metrics.channel(self.outlet.kind(), Channel::Closed(why));
    }

    /// Answers the request.
    pub(super) fn dismiss(self, finish: Finish, metrics: &Metrics) {
        self.count_closed(finish.closed(), metrics);
        self.outlet.finish(finish, self.has_delivered);
    }

    /// A newer request for the same, on the same connection, replaces this one (R30-MON-18). Pages that listen to events do not
    /// know of each other, and stay beside each other.
    pub(super) fn give_way_to(&mut self, newer: &Self) {
        let is_pushed = |monitor: &Self| matches!(monitor.outlet, Outlet::Push(_));
        let is_the_same = self.interest.subscription == newer.interest.subscription;
        self.is_replaced |= is_the_same && is_pushed(self) && is_pushed(newer);
    }
}

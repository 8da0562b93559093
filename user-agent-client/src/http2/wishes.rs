//! Which messages the service is asked for, and how a new monitoring request replaces the old one (RFC 8030 §5.3, §6).
//!
//! Of two requests for one set the service ends the older when all that it promised there has arrived (R30-MON-18). So the older
//! one is read until then, before the newer: nothing is lost between them, and the order of the promises stays. One that the
//! service doesn't end is given up after [`REPLACED_WITHIN`]. That loses no message: what is reset then stays stored.

use std::task::{Context, Poll};

use push_protocol::session::user_agent::{ChannelEnd, Extent, Identity, Wish};
use tokio::time::Instant;
use url::Url;

use super::incoming::Incoming;
use super::monitor::Monitor;
use super::{Channel, End};
use crate::defaults::REPLACED_WITHIN;

/// The current wish, and the request of an older one that has not ended.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) wish: Wish,
    /// What waits is to be asked for, when what came before is acknowledged: else it would come again.
    is_due: bool,
    /// The request before the one that is open, and when it is given up. **Invariant:** there is one at most.
    pub(super) replaced: Option<(Monitor, Instant)>,
    /// All that waits was promised, and perhaps has not come yet; `true`: nothing waits.
    caught_up: Option<bool>,
}

impl Channel {
    /// Asks for this from now on. The wish that came with the hello, said again, changes nothing.
    pub(super) fn bring(&mut self, wish: Wish) {
        let before = std::mem::replace(&mut self.wishes.wish, wish);
        match wish.extent {
            Extent::Lasting if before == wish => {}
            Extent::Lasting => self.replace_monitor(),
            Extent::Waiting | Extent::Nothing => {
                self.forget_monitors();
                self.wishes.is_due = wish.extent == Extent::Waiting;
            }
        }
    }

    pub(super) fn replace_monitor(&mut self) {
        // Where nothing is monitored yet, it begins with this wish.
        let (Some(set), Some(older)) = (&self.set, self.monitor.take()) else {
            return;
        };
        self.monitor = Monitor::begin(&self.requester.requests, set, self.wishes.wish, self.form);
        if self.monitor.is_some() {
            let until = Instant::now() + REPLACED_WITHIN;
            self.wishes.replaced = Some((older, until));
        } else {
            self.end = End::Parting(ChannelEnd::Closed(None));
        }
    }

    /// Monitors our set, if anything is wanted; if it is elsewhere, the next channel does.
    pub(super) fn begin_monitoring(&mut self) {
        self.forget_monitors();
        let is_here = |set: &&Identity| {
            let url = Url::parse(set.as_str());
            url.is_ok_and(|url| url.origin() == self.requester.home.origin())
        };
        let Some(set) = self.set.as_ref().filter(is_here) else {
            self.end = End::Parting(ChannelEnd::Closed(Some(1001)));
            return;
        };
        if self.wishes.wish.extent == Extent::Nothing {
            return;
        }
        self.monitor = Monitor::begin(&self.requester.requests, set, self.wishes.wish, self.form);
        if self.monitor.is_none() {
            self.end = End::Parting(ChannelEnd::Closed(None));
        }
    }

    /// Drops all messages that were promised so far.
    pub(super) fn forget_monitors(&mut self) {
        self.pushes.clear();
        self.monitor = None;
        self.wishes.replaced = None;
        self.wishes.caught_up = None;
        self.wishes.is_due = false;
    }

    /// Asks for what waits, once the service has answered every acknowledgement.
    pub(super) fn ask_when_due(&mut self) {
        if self.wishes.is_due && self.set.is_some() && self.acknowledgements.is_empty() {
            self.begin_monitoring();
        }
    }

    pub(super) fn has_caught_up(&mut self, nothing: bool) {
        self.wishes.caught_up = Some(nothing);
    }

    /// Ready when all that waited has come.
    pub(super) fn poll_caught_up(&mut self) -> Poll<Incoming> {
        match self.wishes.caught_up {
            Some(nothing) if self.pushes.is_empty() => {
                self.wishes.caught_up = None;
                Poll::Ready(Incoming::CaughtUp(nothing))
            }
            Some(_) | None => Poll::Pending,
        }
    }

    /// Takes what was promised on the request that was replaced, until the service ends it. Whether it was all for us.
    pub(super) fn poll_replaced(&mut self, cx: &mut Context<'_>, may_take: bool, now: Instant) -> bool {
        let Some((monitor, until)) = &mut self.wishes.replaced else {
            return true;
        };
        // Looked at first, so that all promises that came before it are there.
        let is_over = (monitor.poll_end(cx).is_ready() && may_take) || *until <= now;
        while may_take && let Poll::Ready(promise) = monitor.poll_promise(cx) {
            if !self.pushes.promised(promise, &self.requester.home) {
                return false;
            }
        }
        if is_over {
            self.wishes.replaced = None;
        }
        true
    }

    /// When the request that was replaced is given up.
    pub(super) fn replaced_until(&self) -> Option<Instant> {
        self.wishes.replaced.as_ref().map(|(_, until)| *until)
    }
}

//! The steps of storage that a driver has in flight, and how it leaves.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use push_protocol::UserAgentId;
use push_protocol::session::{Action, AttachOutcome, Moment, PageOutcome, PageRequest};
use tokio::sync::OwnedSemaphorePermit;

use super::attach::{Attachment, attach};
use super::{AttachState, Driver, Reading};
use crate::defaults::STORAGE_RETRY_AFTER;
use crate::history::StepKind;

/// What a read of the queue brought.
pub(super) enum QueueRead {
    Attached(Attachment),
    Page(PageOutcome, Option<OwnedSemaphorePermit>),
}

/// The seat.
impl Driver {
    /// Enters the registry as this user agent, then takes the seat: a wake-up between the two is not lost (PR-11).
    pub(super) fn begin_attach(&mut self, user_agent: UserAgentId, head: PageRequest) {
        self.shared.registry.claim(&mut self.entry, user_agent);
        self.attach = AttachState::InFlight;
        let (shared, handle) = (Arc::clone(&self.shared), self.entry.share_handle());
        self.reading = Reading::InFlight(Box::pin(async move {
            QueueRead::Attached(attach(&shared, user_agent, &handle, head).await)
        }));
    }

    /// Takes no seat, although the session asks for one.
    pub(in crate::channels) fn renounce_seat(&mut self) {
        self.attach = AttachState::NoSeat;
    }

    pub(in crate::channels) fn is_attaching(&self) -> bool {
        self.attach == AttachState::InFlight
    }

    /// Whether the attach is over, with or without a seat.
    pub(in crate::channels) fn has_attached(&self) -> bool {
        matches!(self.attach, AttachState::MayHoldSeat | AttachState::NoSeat)
    }

    /// Whether the channel may hold a seat, so that it has to call [`Driver::leave`].
    pub(in crate::channels) fn may_hold_seat(&self) -> bool {
        self.session.is_recorded() && self.attach != AttachState::NoSeat
    }
}

/// Steps.
impl Driver {
    /// Starts the steps that can start now: everything that is acknowledged by now, or else the page that is wanted.
    pub(in crate::channels) fn start_steps(&mut self) -> bool {
        let has_handed_over = self.hand_over_acknowledged();
        self.read_page() || has_handed_over
    }

    /// One step of storage for everything that is acknowledged by now.
    fn hand_over_acknowledged(&mut self) -> bool {
        if self.acknowledged.is_empty() || self.acknowledging.is_some() {
            return false;
        }
        let Some(user_agent) = self.session.user_agent() else {
            return false;
        };
        let messages = std::mem::take(&mut self.acknowledged);
        self.handed_over = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let (shared, seat) = (Arc::clone(&self.shared), self.entry.handle().seat());
        let is_last = self.has_ended;
        self.acknowledging = Some(Box::pin(async move {
            match shared.broker.acknowledge(user_agent, &messages, seat).await {
                Ok(()) => Vec::new(),
                // These messages are offered again at the next attach: nothing is lost.
                Err(_) if is_last => Vec::new(),
                Err(_) => {
                    tokio::time::sleep(STORAGE_RETRY_AFTER).await;
                    messages
                }
            }
        }));
        true
    }

    /// Reads the page that is wanted, after storage has all acknowledgements so far: what the user agent has is not
    /// offered again (PR-4).
    fn read_page(&mut self) -> bool {
        if self.has_acknowledgements() {
            return false;
        }
        let (Some(user_agent), Reading::Idle(wanted)) = (self.session.user_agent(), &mut self.reading) else {
            return false;
        };
        let Some(request) = wanted.take() else {
            return false;
        };
        let (shared, seat) = (Arc::clone(&self.shared), self.entry.handle().seat());
        self.reading = Reading::InFlight(Box::pin(async move {
            let share = shared.share_of_delivery(request.bytes).await;
            let page = shared.broker.page(user_agent, seat, *request).await;
            QueueRead::Page(page, share)
        }));
        true
    }

    /// Tells the session what storage answered.
    pub(in crate::channels) fn take_steps(
        &mut self,
        cx: &mut Context<'_>,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> bool {
        let mut has_any = false;
        match self.reading.poll(cx) {
            Some(QueueRead::Attached(attachment)) => {
                self.attached(attachment, now, out);
                has_any = true;
            }
            Some(QueueRead::Page(outcome, share)) => {
                self.hold(share);
                self.session.paged(outcome, now, out);
                has_any = true;
            }
            None => {}
        }
        if let Some(not_taken) = poll_step(&mut self.acknowledging, cx) {
            // Storage has trouble: they are handed over again with the next ones, or when the channel ends.
            self.handed_over = 0;
            self.acknowledged.extend(not_taken);
            has_any = true;
        }
        has_any
    }

    fn attached(&mut self, attachment: Attachment, now: Moment, out: &mut Vec<Action>) {
        let outcome = match attachment {
            Attachment::Asked(outcome, share) => {
                self.hold(share);
                self.attach = AttachState::MayHoldSeat;
                self.note_attached(&outcome);
                outcome
            }
            Attachment::NotAsked => {
                self.attach = AttachState::NoSeat;
                AttachOutcome::Trouble
            }
        };
        self.session.attached(outcome, now, out);
        self.drain_if_leaving(now, out);
    }

    fn note_attached(&self, outcome: &AttachOutcome) {
        match outcome {
            AttachOutcome::Known(_) => self.record(StepKind::Attached(self.kind), None),
            // No step: the ids that a peer makes up must not displace what is remembered of others.
            AttachOutcome::Unknown => {
                let user_agent = self.session.user_agent().map(tracing::field::display);
                tracing::debug!(
                    event = "unknown",
                    user_agent,
                    "storage does not know this user agent"
                );
            }
            AttachOutcome::Trouble => {}
        }
    }

    /// Takes a share of the node's delivery bytes, beside the one of a page that is still being written.
    fn hold(&mut self, share: Option<OwnedSemaphorePermit>) {
        match (&mut self.share, share) {
            (Some(held), Some(share)) => held.merge(share),
            (held @ None, share) => *held = share,
            (Some(_), None) => {}
        }
    }
}

/// The end.
impl Driver {
    /// The channel is over: the session decides nothing more, no page is read and no share is kept. Acknowledgements that
    /// still come are each tried once.
    pub(in crate::channels) fn end(&mut self) {
        self.session.channel_ended();
        self.has_ended = true;
        // Before the seat is given up, so that no comparison takes it again unnoticed.
        self.entry.handle().set_cursor(None);
        self.entry.handle().give_up_seat();
        self.stop_reading();
        self.share = None;
    }

    /// Reads no page any more.
    pub(in crate::channels) fn stop_reading(&mut self) {
        if !self.is_attaching() {
            self.reading = Reading::Idle(None);
        }
    }

    /// What is left to do for a channel that has ended, in this order: `before` ends, the attach in flight ends,
    /// acknowledgements are flushed (PR-18), and the seat is given up if it is still this channel's.
    ///
    /// `before` is what the kind of channel has in flight. Dropped early, the future leaves the seat taken, as a crash does.
    pub(in crate::channels) fn leave(
        &mut self,
        before: impl Future<Output = ()> + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        let reading = std::mem::replace(&mut self.reading, Reading::Idle(None));
        let acknowledging = self.acknowledging.take();
        let mut messages = std::mem::take(&mut self.acknowledged);
        self.handed_over = 0;
        let mut has_no_seat = std::mem::replace(&mut self.attach, AttachState::NoSeat) == AttachState::NoSeat;
        let (shared, seat) = (Arc::clone(&self.shared), self.entry.handle().seat());
        let user_agent = self.session.user_agent();
        Box::pin(async move {
            before.await;
            if let Reading::InFlight(attaching) = reading {
                let attached = attaching.await;
                has_no_seat |= matches!(attached, QueueRead::Attached(Attachment::NotAsked));
            }
            if let Some(acknowledging) = acknowledging {
                messages.extend(acknowledging.await);
            }
            let Some(user_agent) = user_agent.filter(|_| !has_no_seat) else {
                return;
            };
            // What storage does not take now is offered again at the next attach: nothing is lost.
            if !messages.is_empty() {
                let _ = shared.broker.acknowledge(user_agent, &messages, seat).await;
            }
            shared.broker.release(user_agent, seat).await;
            shared.registry.seat_given_up(user_agent, seat);
        })
    }
}

impl Reading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<QueueRead> {
        let Self::InFlight(read) = self else { return None };
        let Poll::Ready(read) = read.as_mut().poll(cx) else {
            return None;
        };
        *self = Self::Idle(None);
        Some(read)
    }
}

/// Polls a step, and frees its slot when it has resolved.
pub(in crate::channels) fn poll_step<T>(
    step: &mut Option<BoxFuture<'static, T>>,
    cx: &mut Context<'_>,
) -> Option<T> {
    let Poll::Ready(resolved) = step.as_mut()?.as_mut().poll(cx) else {
        return None;
    };
    *step = None;
    Some(resolved)
}

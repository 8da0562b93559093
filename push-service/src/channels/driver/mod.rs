//! What every kind of channel does for its session.
//!
//! A [`Driver`] owns everything of a channel but its connection: the session, the entry in the registry, the steps of storage in
//! flight, the acknowledgements that storage does not have yet, the channel's share of the node's delivery bytes, and the marks
//! that others set. A kind of channel (WebSocket, monitor, QUIC) owns a connection and a `Driver`. It supplies three things:
//!
//! - **How to send**: it carries out each [`ChannelCommand`].
//! - **When it can send**: it tells the session with `set_writable`, and says with [`Driver::keep_share`] how many bytes of bodies it
//!   still has to write.
//! - **How it closes**: on [`ChannelCommand::Close`] it tells its peer why; then it calls [`Driver::end`] and [`Driver::leave`].
//!
//! It also tells the session what its peer said (`hello`, `acknowledge`, `heard`, `refused`, `set_wanted`).
//!
//! One poll of a channel looks like this, and is repeated while something happens:
//!
//! ```text
//! begin_poll ─► take_marks ─► take_wake_ups ─► take_steps ─► the kind reads its peer
//!                                                                     │
//!   end_poll ◄─ the kind writes to its peer ◄─ start_steps ◄─ perform each action ─► commands for the kind
//! ```
//!
//! Guarantees:
//!
//! - A wake-up between the entry into the registry and the seat is not lost (PR-11).
//! - At most one read of the queue and one step with acknowledgements are in flight. A page is read after storage has all earlier
//!   acknowledgements, so an acknowledged message is not offered again (PR-4).
//! - No acknowledgement is dropped while the channel lives. A kind that asks [`Driver::has_room_for_acknowledgements`] before it
//!   takes more keeps at most [`PENDING_ACKNOWLEDGEMENTS`] and one read of its peer.
//! - [`Driver::leave`] flushes acknowledgements and gives the seat up if it is still this channel's (PR-18).
//!
//! It does not know how messages are spelled, or how a connection is read, written or closed.

mod attach;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::Waker;

use futures_util::future::BoxFuture;
use push_protocol::session::{Action, CloseReason, Moment, PageRequest, Session, WakeUp, Wanted};
use push_protocol::{MessageId, PushMessage, SubscriptionId, UserAgentId, UserAgentIdentity};
use tokio::sync::OwnedSemaphorePermit;

use self::steps::QueueRead;
pub(super) use self::steps::poll_step;
use super::handle::Mark;
use super::registry::Entry;
use super::shared::Shared;
use super::span;
use crate::broker::waited;
use crate::defaults::{PENDING_ACKNOWLEDGEMENTS, SHARE_WITHIN};
use crate::history::{Step, StepKind};
use crate::metrics::{ChannelKind, Closed, Label as _, Removed};
use crate::storage::{RemovalReason, Seat};
use crate::tasks::Owner;

/// The part of a channel that all kinds have in common. It lives in the channel's own task.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    /// Decides what the channel does. The kind of channel tells it what the peer said.
    pub(super) session: Session,
    entry: Entry,
    reading: Reading,
    /// Resolves to the acknowledgements that storage did not take.
    acknowledging: Option<BoxFuture<'static, Vec<MessageId>>>,
    /// Acknowledged by the user agent, and not handed to storage yet.
    acknowledged: Vec<MessageId>,
    /// How many acknowledgements `acknowledging` has.
    handed_over: u32,
    /// The share of the node's delivery bytes, for bodies that were read and wait to be written.
    share: Option<OwnedSemaphorePermit>,
    attach: AttachState,
    kind: ChannelKind,
    /// The node leaves; a request in progress is answered first (PR-36).
    is_draining: bool,
    has_ended: bool,
}

/// What a channel reads of its queue. The session asks for one read at a time: the seat with the head of the queue, or a page.
enum Reading {
    /// Nothing is read. There may be a page that the session wants and that storage was not asked for yet. Boxed, because an
    /// idle channel wants none.
    Idle(Option<Box<PageRequest>>),
    InFlight(BoxFuture<'static, QueueRead>),
}

/// Whether a channel may hold a seat.
///
/// ```text
///            Action::Attach           storage was asked
///  NotBegun ───────────────► InFlight ────────────────► MayHoldSeat
///      │                        │ no turn in time, a newer channel, or the channel ended
///      └────────────────────────┴────────────────────► NoSeat
///        the kind renounces it
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AttachState {
    NotBegun,
    InFlight,
    /// Storage may have given the seat, even if it answered with trouble.
    MayHoldSeat,
    /// There is no seat to give up.
    NoSeat,
}

/// What the session decided and only the kind of channel can do.
#[derive(Debug)]
pub(super) enum ChannelCommand {
    /// Answer the hello with this identity.
    Welcome(UserAgentIdentity),
    /// Write this message.
    Offer(Arc<PushMessage>),
    /// Ask the peer whether it is there.
    Ping,
    /// A subscription ended, or with `None` all of them.
    Ended(Option<SubscriptionId>),
    /// Tell the peer why, and close.
    Close(CloseReason),
}

impl Driver {
    /// For a peer that has yet to say who it is.
    pub(super) fn awaiting_hello(shared: Arc<Shared>, kind: ChannelKind) -> Self {
        let session = Session::new(Arc::clone(&shared.limits), shared.now());
        Self::new(shared, kind, session)
    }

    /// For a peer whose user agent is known from the start. `out` receives the first actions.
    pub(super) fn of_user_agent(
        shared: Arc<Shared>,
        kind: ChannelKind,
        user_agent: UserAgentId,
        wanted: Wanted,
        once: bool,
        out: &mut Vec<Action>,
    ) -> Self {
        let (limits, now) = (Arc::clone(&shared.limits), shared.now());
        let session = Session::monitor(user_agent, wanted, once, limits, now, out);
        Self::new(shared, kind, session)
    }

    fn new(shared: Arc<Shared>, kind: ChannelKind, session: Session) -> Self {
        let entry = shared.registry.enter();
        Self {
            session,
            entry,
            reading: Reading::Idle(None),
            acknowledging: None,
            acknowledged: Vec::new(),
            handed_over: 0,
            share: None,
            attach: AttachState::NotBegun,
            kind,
            is_draining: shared.is_leaving(),
            has_ended: false,
            shared,
        }
    }
}

/// One poll.
impl Driver {
    /// Called first: what the channel is told from now on wakes its task.
    pub(super) fn begin_poll(&self, waker: &Waker) {
        self.entry.handle().listen(waker);
    }

    /// Called last, if the channel goes on. `due` is when the kind of channel has to be polled next, at the latest.
    pub(super) fn end_poll(&self, due: Moment) {
        let handle = self.entry.handle();
        handle.set_due(due);
        handle.set_cursor(self.session.cursor());
    }

    /// When the session has to be looked at next. A channel that holds a share is looked at more often, because others may
    /// wait for the share.
    pub(super) fn next_due(&self) -> Moment {
        match &self.share {
            Some(_) => self.session.next_due().min(self.shared.now().after(SHARE_WITHIN)),
            None => self.session.next_due(),
        }
    }

    /// Tells the session what others have marked. `is_busy`: a request of the peer waits for storage, and is answered
    /// before the node leaves.
    pub(super) fn take_marks(&mut self, is_busy: bool, now: Moment, out: &mut Vec<Action>) -> bool {
        let marks = self.entry.handle().take_marks();
        self.is_draining |= marks.has(Mark::Drain);
        if marks.has(Mark::Tick) {
            self.session.tick(now, out);
            if self.share.is_some() && self.shared.is_short_of_shares() {
                self.session.give_way(SHARE_WITHIN, now, out);
            }
        }
        if marks.has(Mark::Displaced) {
            self.session.close(CloseReason::Displaced, out);
        }
        if marks.has(Mark::Stop) {
            self.session.close(CloseReason::ServiceRestart, out);
        }
        if !is_busy && !self.is_attaching() {
            self.drain_if_leaving(now, out);
        }
        if marks.has(Mark::ReadAgain) {
            self.session.read_again(now, out);
        }
        marks.any()
    }

    /// The node leaves, if it does. Called also when a request of the peer has been answered.
    pub(super) fn drain_if_leaving(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.is_draining {
            self.session.drain(now, out);
        }
    }

    /// Tells the session what storage announced. `removed` is called with messages that left storage.
    pub(super) fn take_wake_ups(
        &mut self,
        now: Moment,
        out: &mut Vec<Action>,
        mut removed: impl FnMut(&[MessageId]),
    ) -> bool {
        let wake_ups = self.entry.handle().take_wake_ups();
        let has_any = !wake_ups.is_empty();
        for wake_up in wake_ups {
            if let WakeUp::Removed(messages) = &wake_up {
                removed(messages);
            }
            self.session.woken(wake_up, now, out);
        }
        has_any
    }

    /// Does what the session decided, or returns what only the kind of channel can do.
    pub(super) fn perform(&mut self, action: Action) -> Option<ChannelCommand> {
        let command = match action {
            Action::Offer(message) => ChannelCommand::Offer(message),
            Action::Welcome { identity, fresh } => {
                if fresh {
                    self.shared.registry.claim(&mut self.entry, identity.id());
                }
                ChannelCommand::Welcome(identity)
            }
            Action::Ping => ChannelCommand::Ping,
            Action::Ended(which) => ChannelCommand::Ended(which),
            Action::Close(reason) => ChannelCommand::Close(reason),
            Action::Attach { user_agent, head } => {
                self.begin_attach(user_agent, head);
                return None;
            }
            Action::Page(request) => {
                debug_assert!(matches!(self.reading, Reading::Idle(_)), "one read at a time");
                self.reading = Reading::Idle(Some(Box::new(request)));
                return None;
            }
            Action::Acknowledge(messages) => {
                if self.acknowledged.is_empty() {
                    self.acknowledged = messages;
                } else {
                    self.acknowledged.extend(messages);
                }
                return None;
            }
            Action::Unheard(message) => {
                self.shared.metrics.removed(Removed::Unheard, 1);
                self.record(StepKind::Removed(RemovalReason::Unheard), Some(&message));
                return None;
            }
            Action::Unacknowledged(count) => {
                self.shared.metrics.unacknowledged(count as u64);
                return None;
            }
        };
        Some(command)
    }

    /// Whose the channel's task is, for the log.
    pub(super) fn owner(&self) -> Owner {
        span::owner(self.kind, self.seat())
    }

    /// A message was written to the channel.
    pub(super) fn offered(&self, message: &PushMessage) {
        self.shared.metrics.delivered(waited(message.id.number));
        self.record(StepKind::Offered(self.kind), Some(message));
    }

    /// The channel is about to end.
    pub(super) fn ends(&self, why: Closed) {
        if self.may_hold_seat() {
            self.record(StepKind::Left(why), None);
        } else {
            tracing::debug!(reason = why.as_str(), "the channel ends");
        }
    }

    /// Records what happened to the channel's user agent, if it has one yet.
    fn record(&self, kind: StepKind, message: Option<&PushMessage>) {
        let Some(user_agent) = self.session.user_agent() else {
            return;
        };
        let step = Step::now(kind);
        let step = match message {
            Some(message) => step.of(message.id).to(message.subscription),
            None => step,
        };
        self.shared.broker.history().record(&user_agent, step);
    }

    /// The seat that the channel has, or takes.
    pub(super) fn seat(&self) -> Seat {
        self.entry.handle().seat()
    }

    /// Whether the channel may take more acknowledgements from its peer. Otherwise storage has to take some first.
    pub(super) fn has_room_for_acknowledgements(&self) -> bool {
        self.handed_over as usize + self.acknowledged.len() < PENDING_ACKNOWLEDGEMENTS
    }

    /// Whether storage has, or may have, acknowledgements of this channel in hand.
    pub(super) fn has_acknowledgements(&self) -> bool {
        self.acknowledging.is_some() || !self.acknowledged.is_empty()
    }

    /// Keeps a share of the node's delivery bytes for this many bytes of bodies that are still to be written.
    pub(super) fn keep_share(&mut self, bytes: usize) {
        let kib = bytes.div_ceil(1024);
        if kib == 0 {
            self.share = None;
        } else if let Some(share) = &mut self.share {
            drop(share.split(share.num_permits().saturating_sub(kib)));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.registry.remove(&mut self.entry);
    }
}

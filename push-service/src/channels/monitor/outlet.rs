//! Where a monitor's messages go: to pushed streams, or to events.

use std::task::{Context, Poll};

use push_protocol::MessageId;

use super::events::Events;
use super::finish::Finish;
use super::parcel::{Parcel, Written};
use super::push::Pushes;
use crate::metrics::ChannelKind;

/// The one or the other.
pub(super) enum Outlet {
    Push(Box<Pushes>),
    Events(Box<Events>),
}

impl Outlet {
    pub(super) fn kind(&self) -> ChannelKind {
        match self {
            Self::Push(_) => ChannelKind::Http2,
            Self::Events(_) => ChannelKind::Events,
        }
    }

    /// The seat is taken: from now on a message may come.
    pub(super) fn begin(&mut self) {
        if let Self::Events(events) = self {
            events.begin();
        }
    }

    /// Whether something can be written now. A peer that is gone is noticed by [`Outlet::poll_gone`].
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Push(pushes) => pushes.poll_ready(cx),
            Self::Events(events) => events.poll_ready(cx),
        }
    }

    /// Writes. For an outlet that is ready.
    pub(super) fn write(&mut self, parcel: &Parcel<'_>) -> Written {
        match self {
            Self::Push(pushes) => pushes.write(parcel),
            Self::Events(events) => events.write(parcel),
        }
    }

    /// Resolves when the peer has gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Push(pushes) => pushes.poll_gone(cx),
            Self::Events(events) => events.poll_gone(cx),
        }
    }

    /// Whether nothing more can be sent, because the peer accepts no more streams.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Push(pushes) => pushes.is_over(),
            Self::Events(_) => false,
        }
    }

    /// Whether everything that was written has arrived, if the peer can tell. Asks the peer.
    pub(super) fn is_settled(&mut self) -> bool {
        match self {
            Self::Push(pushes) => pushes.is_settled(),
            Self::Events(_) => true,
        }
    }

    /// Cancels the message that is not written to its end.
    pub(super) fn cancel(&mut self) -> Option<MessageId> {
        match self {
            Self::Push(pushes) => pushes.cancel(),
            Self::Events(_) => None,
        }
    }

    /// Answers the request. What is not written by now is not written at all.
    pub(super) fn finish(self, finish: Finish, has_delivered: bool) {
        match self {
            Self::Push(pushes) => pushes.finish(finish, has_delivered),
            Self::Events(events) => events.finish(finish, has_delivered),
        }
    }

    /// Keeps the connection alive while nothing is written; says whether what was written is taken.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Push(pushes) => pushes.poll_flushed(cx),
            Self::Events(events) => events.poll_ready(cx),
        }
    }

    pub(super) fn is_flushed(&self, arrived: bool) -> bool {
        match self {
            Self::Push(pushes) => pushes.is_flushed(arrived),
            Self::Events(_) => true,
        }
    }

    /// These messages have left storage, so their streams are free.
    pub(super) fn removed(&mut self, messages: &[MessageId]) {
        if let Self::Push(pushes) = self {
            pushes.removed(messages);
        }
    }
}

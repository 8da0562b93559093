//! Where a monitor's messages go: pushed streams, or events. Whoever writes doesn't know which.

use std::task::{Context, Poll};

use push_protocol::{MessageId, PushMessage};

use super::end::Finish;
use super::events::Events;
use super::push::Pushes;
use crate::broker::ReceiptTold;
use crate::metrics::ChannelKind;

/// One of the two.
pub(super) enum Outlet {
    Push(Box<Pushes>),
    Events(Box<Events>),
}

/// What is written.
pub(super) enum Parcel<'a> {
    /// A push message, with its two URLs.
    Message {
        message: &'a PushMessage,
        message_url: String,
        push_url: String,
    },
    /// A receipt, and the URL that acknowledges it where nothing else can.
    Receipt {
        message: &'a PushMessage,
        told: ReceiptTold,
        acknowledge: String,
    },
}

/// What became of a parcel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// It's on its way.
    Yes,
    /// It had arrived over an earlier connection.
    Known,
    /// It can't be written.
    No,
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

    /// Whether something can be written now. Of a peer that is gone nobody is told here.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Push(pushes) => pushes.poll_ready(cx),
            Self::Events(events) => events.poll_ready(cx),
        }
    }

    /// Writes. For one that is ready.
    pub(super) fn write(&mut self, parcel: &Parcel<'_>) -> Written {
        match self {
            Self::Push(pushes) => pushes.write(parcel),
            Self::Events(events) => events.write(parcel),
        }
    }

    /// Resolves when whoever monitors has gone.
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

    /// Whether all that was written has arrived, for a peer that can tell; asks it.
    pub(super) fn is_settled(&mut self) -> bool {
        match self {
            Self::Push(pushes) => pushes.is_settled(),
            Self::Events(_) => true,
        }
    }

    /// Gives up what is not written to its end.
    pub(super) fn break_off(&mut self) -> Option<MessageId> {
        match self {
            Self::Push(pushes) => pushes.break_off(),
            Self::Events(_) => None,
        }
    }

    /// Answers the request. What is not written by then never is.
    pub(super) fn finish(self, finish: Finish, has_brought: bool) {
        match self {
            Self::Push(pushes) => pushes.finish(finish, has_brought),
            Self::Events(events) => events.finish(finish, has_brought),
        }
    }
}

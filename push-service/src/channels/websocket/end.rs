//! How a channel ends: the peer reads why, acknowledgements are flushed, the seat is given up.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use push_protocol::session::{CloseReason, Moment};
use tokio::io::{AsyncRead, AsyncWrite};

use super::scratch::Scratch;
use super::{Guard, WebSocketChannel};
use crate::channels::poll_slot;
use crate::defaults::CLOSE_WITHIN;
use crate::metrics::Closed;

/// A channel that is about to go.
pub(super) struct End {
    /// When the connection is cut whatever is left to do.
    pub(super) until: Moment,
    /// Flushes acknowledgements, gives the seat up.
    leave: Option<BoxFuture<'static, ()>>,
    /// The peer has said that it's done, or is gone.
    peer_done: bool,
    shut_down: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin, G: Guard> WebSocketChannel<Io, G> {
    /// The channel is over: what was acknowledged is flushed and the seat given up, while the peer reads the close.
    pub(super) fn begin_end(&mut self, why: Closed, peer_done: bool, now: Moment) {
        if let Some(end) = &mut self.end {
            end.peer_done |= peer_done;
            return;
        }
        self.closed = why;
        self.session.ended();
        // Before the seat is given up, so that no comparison takes it again unnoticed.
        self.place.handle().set_cursor(None);
        let may_be_seated = self.session.is_recorded() && !self.has_no_seat;
        let recorded = self.session.user_agent().filter(|_| may_be_seated);
        let leave = recorded.map(|user_agent| self.leave(user_agent));
        (self.page, self.wanted, self.delivering) = (None, None, None);
        self.unread = Box::default();
        self.end = Some(Box::new(End {
            until: now.after(CLOSE_WITHIN),
            leave,
            peer_done,
            shut_down: false,
        }));
    }

    /// Reads on after the close, so that the peer isn't reset before it read why.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> bool {
        let Some(end) = &self.end else { return false };
        if end.peer_done {
            return false;
        }
        let mut buffer = std::mem::take(&mut scratch.read);
        let read = self.read_once(cx, &mut buffer);
        scratch.read = buffer;
        match (read, &mut self.end) {
            (Poll::Ready(Ok(0) | Err(_)), Some(end)) => end.peer_done = true,
            (Poll::Pending, _) => return false,
            _ => {}
        }
        true
    }

    pub(super) fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let written = self.unwritten.is_empty() && !self.flushing;
        let Some(end) = &mut self.end else { return false };
        // The seat is given up whatever the peer does; storage's own deadlines end this.
        if poll_slot(&mut end.leave, cx).is_none() && end.leave.is_some() {
            return false;
        }
        if self.shared.now() >= end.until {
            return true;
        }
        if written && !end.shut_down {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => end.shut_down = true,
                Poll::Ready(Err(_)) => return true,
                Poll::Pending => return false,
            }
        }
        written && end.peer_done
    }
}

pub(super) fn closed_for(reason: CloseReason) -> Closed {
    match reason {
        CloseReason::HelloTimeout => Closed::HelloTimeout,
        CloseReason::NotHello
        | CloseReason::SecondHello
        | CloseReason::Malformed(_)
        | CloseReason::Binary
        | CloseReason::Protocol(_)
        | CloseReason::NotUtf8 => Closed::Protocol,
        CloseReason::TooLarge => Closed::TooLarge,
        CloseReason::TooManyRequests => Closed::PingFlood,
        CloseReason::OverBudget => Closed::OverBudget,
        CloseReason::Unknown => Closed::Ended,
        CloseReason::CaughtUp => Closed::Left,
        CloseReason::Displaced => Closed::Displaced,
        CloseReason::PongTimeout => Closed::PongTimeout,
        CloseReason::SlowReader => Closed::SlowReader,
        CloseReason::TryAgainLater | CloseReason::ServiceRestart => Closed::Storage,
        CloseReason::GoingAway => Closed::Drain,
    }
}

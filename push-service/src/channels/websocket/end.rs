//! How a channel ends: the peer reads why, acknowledgements are flushed, the seat is given up.
//!
//! ```text
//!  begin_end ──► what was read and not yet looked at, then the socket: only acknowledgements count (PR-18) ──► gone
//!                until the peer's close or its end, or CLOSE_WITHIN
//! ```
//!
//! Acknowledgements that were on their way when the service closed are still taken: the user agent sent them before
//! it could read the close. They are bounded: a channel that was closed for its costs has a window of them left, every
//! other [`PENDING_ACKNOWLEDGEMENTS`], because messages with TTL 0 and those that left the window are acknowledged too.
//! Before hello was answered, and after a frame that breaks the protocol, the service takes no acknowledgement. Each read
//! is one step of storage, which is tried once. If the step fails, its messages are offered again at the next attach.
//! Everything else that the peer sends is discarded. The seat is given up at once, because acknowledgements need no seat.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use push_protocol::session::{CloseReason, Moment};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader};
use push_protocol::wire::websocket::{Acknowledgement, Request, parse};
use tokio::io::{AsyncRead, AsyncWrite};

use super::WebSocketChannel;
use super::scratch::Scratch;
use crate::channels::Guard;
use crate::channels::driver::poll_step;
use crate::defaults::{CLOSE_WITHIN, PENDING_ACKNOWLEDGEMENTS};
use crate::metrics::Closed;

/// A channel that is about to go.
pub(super) struct End {
    /// When the connection is cut, whatever is left to do.
    pub(super) until: Moment,
    /// Flushes the acknowledgements that came before the end, gives the seat up.
    leave: Option<BoxFuture<'static, ()>>,
    /// How many acknowledgements are still taken; 0 after a frame that breaks the protocol.
    takes: usize,
    /// The peer has closed its side, or is gone.
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
        self.driver.ends(why);
        self.driver.end();
        let leave = self.driver.may_hold_seat().then(|| {
            let request = self.request.take();
            self.driver.leave(async move {
                if let Some(request) = request {
                    request.await;
                }
            })
        });
        if peer_done {
            // Nothing counts after the peer's close frame.
            self.unread = Box::default();
        }
        self.unread_is_ready = !self.unread.is_empty();
        self.end = Some(Box::new(End {
            until: now.after(CLOSE_WITHIN),
            leave,
            takes: match why {
                _ if !self.is_welcome => 0,
                Closed::OverBudget => usize::from(self.driver.shared.limits.in_flight),
                _ => PENDING_ACKNOWLEDGEMENTS,
            },
            peer_done,
            shut_down: false,
        }));
    }

    /// After a frame that breaks the protocol the rest cannot be interpreted: it is read and discarded.
    pub(super) fn discard_the_rest(&mut self) {
        if let Some(end) = &mut self.end {
            end.takes = 0;
        }
    }

    /// Reads on after the close, so that no reset keeps the peer from reading the reason, and takes acknowledgements.
    pub(super) fn read_last(&mut self, cx: &mut Context<'_>, now: Moment, scratch: &mut Scratch) -> bool {
        let Some(end) = &self.end else { return false };
        if end.peer_done || now >= end.until {
            return false;
        }
        if std::mem::take(&mut self.unread_is_ready) {
            self.take_bytes(&mut [], now, scratch);
            return true;
        }
        let mut buffer = std::mem::take(&mut scratch.read);
        let read = self.read_once(cx, &mut buffer);
        match (&read, &mut self.end) {
            (Poll::Ready(Ok(0) | Err(_)), Some(end)) => end.peer_done = true,
            (Poll::Ready(Ok(read)), Some(end)) if end.takes > 0 => {
                self.take_bytes(&mut buffer[..*read], now, scratch);
            }
            _ => {}
        }
        scratch.read = buffer;
        read.is_ready()
    }

    /// Takes the acknowledgements from complete frames, and returns how many bytes are left.
    pub(super) fn take_last_frames(&mut self, bytes: &mut [u8], now: Moment, scratch: &mut Scratch) -> usize {
        let mut at = 0;
        // The reader is moved out meanwhile, because the frames borrow from it.
        let mut frames = std::mem::replace(&mut self.frames, FrameReader::new(Reader::Service, 0));
        while self
            .end
            .as_ref()
            .is_some_and(|end| end.takes > 0 && !end.peer_done)
        {
            match frames.read(&mut bytes[at..]) {
                Ok(Some((incoming, taken))) => {
                    at += taken;
                    self.take_last_frame(&incoming, now, scratch);
                }
                Ok(None) => break,
                Err(_) => self.discard_the_rest(),
            }
        }
        self.frames = frames;
        match &self.end {
            Some(end) if end.takes > 0 => bytes.len() - at,
            _ => 0,
        }
    }

    fn take_last_frame(&mut self, incoming: &Incoming<'_>, now: Moment, scratch: &mut Scratch) {
        let Some(end) = &mut self.end else { return };
        match incoming {
            Incoming::Text(text) => match parse(text) {
                Ok(Request::Ack(updates)) => {
                    let taken = updates.len().min(end.takes);
                    end.takes -= taken;
                    let updates: &[Acknowledgement] = &updates[..taken];
                    self.acknowledge(updates, now, scratch);
                    self.perform(now, scratch);
                }
                Ok(_) => {}
                Err(_) => self.discard_the_rest(),
            },
            Incoming::Close(_) => end.peer_done = true,
            Incoming::Binary | Incoming::Ping(_) | Incoming::Pong | Incoming::Fragment => {}
        }
    }

    pub(super) fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let written = self.unwritten.is_empty() && !self.flushing;
        let Some(end) = &mut self.end else { return false };
        // The seat is given up whatever the peer does; storage's own deadlines end this.
        if poll_step(&mut end.leave, cx).is_none() && end.leave.is_some() {
            return false;
        }
        if self.driver.has_acknowledgements() {
            return false;
        }
        if self.driver.shared.now() >= end.until {
            return true;
        }
        if written && !end.shut_down {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                // A peer that reads nothing more may still have sent something.
                Poll::Ready(Ok(()) | Err(_)) => end.shut_down = true,
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

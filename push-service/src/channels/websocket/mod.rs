//! One WebSocket channel: the task that owns the connection and carries out what its session decides.
//!
//! Each poll runs through the driver's order of steps, reads from the socket at most once, and writes once. Buffers to read into
//! and to write from belong to the thread and are lent for one poll: an idle channel owns neither, only the rest of a frame or of
//! a write that could not be finished.
//!
//! The channel reads nothing while a request waits for storage or while the peer does not take what is written: a user agent
//! cannot make the node hold more than one answer for it.

mod end;
mod paying;
mod requests;
mod scratch;
mod socket;
#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use push_protocol::session::{CloseReason, Moment};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_close, write_ping, write_pong};
use push_protocol::wire::websocket::{close_code, close_text, write_hello, write_notification};
use tokio::io::{AsyncRead, AsyncWrite};

use self::end::{End, closed_for};
use self::paying::Slowed;
use self::requests::StorageReply;
use self::scratch::Scratch;
use super::Guard;
use super::driver::{ChannelCommand, Driver, poll_step};
use super::shared::Shared;
use crate::defaults::{COST_FRAME, FRAME_BYTES};
use crate::metrics::{Channel, ChannelKind, Closed};
use crate::tasks::Owner;

/// A channel over a WebSocket. A future: resolves when the connection has ended and its seat was given up.
///
/// `G` has to live as long as the connection.
pub(super) struct WebSocketChannel<Io, G> {
    io: Io,
    driver: Driver,
    frames: FrameReader,
    /// What was read and is no whole frame yet, or waits behind a request.
    unread: Box<[u8]>,
    /// Whether `unread` may begin with a whole frame.
    unread_is_ready: bool,
    /// Its hello was answered.
    is_welcome: bool,
    flushing: bool,
    closed: Closed,
    /// What the socket did not take yet.
    unwritten: Box<[u8]>,
    /// A request of the user agent that waits for storage.
    request: Option<BoxFuture<'static, StorageReply>>,
    end: Option<Box<End>>,
    /// Boxed, because few channels are ever slowed down.
    slowed: Option<Box<Slowed>>,
    guard: G,
}

impl<Io: AsyncRead + AsyncWrite + Unpin, G: Guard> Future for WebSocketChannel<Io, G> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let channel = self.get_mut();
        channel.driver.begin_poll(cx.waker());
        let mut scratch = Scratch::borrow();
        let polled = channel.run(cx, &mut scratch);
        scratch.give_back();
        if polled.is_pending() {
            channel.driver.end_poll(channel.next_due());
        }
        polled
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin, G: Guard> WebSocketChannel<Io, G> {
    pub(super) fn new(io: Io, leftover: &[u8], guard: G, shared: Arc<Shared>) -> Self {
        shared.metrics.channel(ChannelKind::WebSocket, Channel::Opened);
        Self {
            io,
            driver: Driver::awaiting_hello(shared, ChannelKind::WebSocket),
            frames: FrameReader::new(Reader::Service, FRAME_BYTES),
            unread_is_ready: !leftover.is_empty(),
            unread: leftover.into(),
            is_welcome: false,
            unwritten: Box::default(),
            flushing: false,
            request: None,
            end: None,
            closed: Closed::Lost,
            slowed: None,
            guard,
        }
    }

    /// Whose its task is, for the log.
    pub(super) fn owner(&self) -> Owner {
        self.driver.owner()
    }

    fn run(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        let now = self.driver.shared.now();
        loop {
            let is_busy = self.request.is_some();
            let mut busy = self.driver.take_marks(is_busy, now, &mut scratch.actions);
            // Wake-ups first: what was stored before a subscription ended is written before the end is confirmed.
            busy |= self.driver.take_wake_ups(now, &mut scratch.actions, |_| {});
            busy |= self.take_replies(cx, now, scratch);
            busy |= self.read(cx, now, scratch);
            busy |= self.perform(now, scratch);
            busy |= self.driver.start_steps();
            busy |= self.write(cx, now, scratch);
            if self.has_ended(cx) {
                return Poll::Ready(());
            }
            if !busy {
                return Poll::Pending;
            }
        }
    }

    fn next_due(&self) -> Moment {
        match &self.end {
            Some(end) => end.until,
            None => {
                let slowed = self.slowed_until(self.driver.shared.now());
                self.driver.next_due().min(slowed.unwrap_or(Moment::NEVER))
            }
        }
    }

    /// Takes what storage has answered, to the driver and to a request of the user agent.
    fn take_replies(&mut self, cx: &mut Context<'_>, now: Moment, scratch: &mut Scratch) -> bool {
        let could_not_read = self.waits_for_storage();
        let mut busy = false;
        if let Some(reply) = poll_step(&mut self.request, cx) {
            reply.write(&mut scratch.out);
            self.driver.drain_if_leaving(now, &mut scratch.actions);
            busy = true;
        }
        busy |= self.driver.take_steps(cx, now, &mut scratch.actions);
        if could_not_read && !self.waits_for_storage() {
            self.unread_is_ready = !self.unread.is_empty();
        }
        busy
    }

    /// Whether a request of the user agent waits for storage, be it its hello: the next one is read after the reply.
    fn waits_for_storage(&self) -> bool {
        self.request.is_some() || self.driver.is_attaching()
    }

    fn take_frame(&mut self, incoming: &Incoming<'_>, now: Moment, scratch: &mut Scratch) {
        self.driver.session.heard(now);
        match incoming {
            Incoming::Text(text) => self.take_text(text, now, scratch),
            Incoming::Binary => self
                .driver
                .session
                .close(CloseReason::Binary, &mut scratch.actions),
            Incoming::Ping(payload) => {
                if self.driver.session.may_answer(now, &mut scratch.actions) {
                    write_pong(&mut scratch.out, None, payload);
                }
            }
            Incoming::Pong | Incoming::Fragment => {
                self.pay(COST_FRAME, now, scratch);
            }
            Incoming::Close(code) => {
                write_close(&mut scratch.out, None, code.unwrap_or(1000), "");
                self.begin_end(Closed::Left, true, now);
            }
        }
    }

    /// Does what the session decided.
    fn perform(&mut self, now: Moment, scratch: &mut Scratch) -> bool {
        let (mut busy, mut is_unknown) = (false, false);
        let mut actions = std::mem::take(&mut scratch.actions);
        for action in actions.drain(..) {
            busy = true;
            match self.driver.perform(action) {
                Some(ChannelCommand::Offer(message)) => {
                    self.driver.offered(&message);
                    write_notification(&mut scratch.out, &message);
                }
                Some(ChannelCommand::Welcome(identity)) => {
                    self.is_welcome = true;
                    write_hello(&mut scratch.out, &identity);
                }
                Some(ChannelCommand::Ping) => write_ping(&mut scratch.out, None, b""),
                Some(ChannelCommand::Close(reason)) => {
                    write_close(&mut scratch.out, None, close_code(reason), close_text(reason));
                    self.begin_end(closed_for(reason), false, now);
                }
                // An operator has ended the user agent. Its next hello makes a new one of it.
                Some(ChannelCommand::Ended(None)) => is_unknown = true,
                // A user agent knows what it unregisters. No message tells of what an operator has ended.
                Some(ChannelCommand::Ended(Some(_))) | None => {}
            }
        }
        scratch.actions = actions;
        if is_unknown {
            self.driver
                .session
                .close(CloseReason::Unknown, &mut scratch.actions);
        }
        busy
    }
}

impl<Io, G> Drop for WebSocketChannel<Io, G> {
    fn drop(&mut self) {
        let metrics = &self.driver.shared.metrics;
        metrics.channel(ChannelKind::WebSocket, Channel::Closed(self.closed));
    }
}

//! One WebSocket channel: the task that owns a connection and does what its session decides.
//!
//! Each poll looks, in this order, at what the node says (deadlines, drain), at what storage answered, at wake-ups, and
//! at the socket; then it writes once. Buffers to read into and to write from belong to the thread and are borrowed for
//! one poll: an idle channel owns neither, only the rest of a frame or of a write that could not be finished.
//!
//! Nothing is read while a request waits for storage or while the peer doesn't take what is written: a user agent can't
//! make the node hold more than one answer for it.

mod requests;
mod scratch;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use push_protocol::MessageId;
use push_protocol::session::{Action, CloseReason, Moment, PageOutcome, PageRequest, Session};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_close, write_ping, write_pong};
use push_protocol::wire::websocket::{close_code, close_text, write_hello, write_notification};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use self::requests::Answer;
use self::scratch::Scratch;
use super::Channels;
use super::handle::Mark;
use super::registry::Place;
use crate::defaults::{
    CLOSE_WITHIN, FRAME_BYTES, PENDING_ACKNOWLEDGEMENTS, SHARE_WITHIN, STORAGE_RETRY_AFTER,
};
use crate::metrics::{Channel, ChannelKind, Closed, Removed};

/// A channel over a WebSocket. A future: resolves when the connection has ended and its seat was given up.
///
/// `Guard` is whatever has to live as long as the connection.
pub(super) struct WebSocketChannel<Io, Guard> {
    io: Io,
    shared: Arc<Channels>,
    place: Place,
    session: Session,
    frames: FrameReader,
    /// What was read and is no whole frame yet, or waits behind a request.
    unread: Box<[u8]>,
    /// Whether `unread` may begin with a whole frame.
    unread_is_ready: bool,
    /// The node leaves; a request under way is answered first (PR-36).
    leaving: bool,
    /// What the socket did not take yet.
    unwritten: Box<[u8]>,
    flushing: bool,
    /// The share of the node's delivery bytes that `unwritten` holds.
    delivering: Option<OwnedSemaphorePermit>,
    /// A request of the user agent that waits for storage.
    request: Option<BoxFuture<'static, Answer>>,
    page: Option<BoxFuture<'static, (PageOutcome, Option<OwnedSemaphorePermit>)>>,
    /// A page that the session wants and that was not asked for yet.
    wanted: Option<Box<PageRequest>>,
    acknowledging: Option<BoxFuture<'static, Vec<MessageId>>>,
    /// Acknowledged by the user agent, not yet handed to storage.
    acknowledged: Vec<MessageId>,
    end: Option<Box<End>>,
    closed: Closed,
    _guard: Guard,
}

/// A channel that is about to go.
struct End {
    /// When the connection is cut whatever is left to do.
    until: Moment,
    /// Flushes acknowledgements, gives the seat up.
    leave: Option<BoxFuture<'static, ()>>,
    /// The peer has said that it's done, or is gone.
    peer_done: bool,
    shut_down: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin, Guard: Unpin> Future for WebSocketChannel<Io, Guard> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let channel = self.get_mut();
        channel.place.handle().listen(cx.waker());
        let mut scratch = Scratch::borrow();
        let polled = channel.run(cx, &mut scratch);
        scratch.give_back();
        if polled.is_pending() {
            channel.place.handle().set_due(channel.next_due());
        }
        polled
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin, Guard: Unpin> WebSocketChannel<Io, Guard> {
    pub(super) fn new(io: Io, leftover: &[u8], guard: Guard, shared: Arc<Channels>) -> Self {
        let place = shared.registry.enter();
        let session = Session::new(Arc::clone(&shared.limits), shared.now());
        shared
            .broker
            .metrics()
            .channel(ChannelKind::WebSocket, Channel::Opened);
        Self {
            io,
            place,
            session,
            frames: FrameReader::new(Reader::Service, FRAME_BYTES),
            unread_is_ready: !leftover.is_empty(),
            unread: leftover.into(),
            leaving: shared.is_leaving(),
            unwritten: Box::default(),
            flushing: false,
            delivering: None,
            request: None,
            page: None,
            wanted: None,
            acknowledging: None,
            acknowledged: Vec::new(),
            end: None,
            closed: Closed::Lost,
            _guard: guard,
            shared,
        }
    }

    fn run(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        let now = self.shared.now();
        loop {
            let mut busy = self.take_marks(now, scratch);
            // Wake-ups first: what was stored before a subscription ended is written before the end is confirmed.
            busy |= self.take_wake_ups(now, scratch);
            busy |= self.take_answers(cx, now, scratch);
            busy |= self.read(cx, now, scratch);
            busy |= self.perform(now, scratch);
            busy |= self.hand_over_acknowledged();
            busy |= self.read_page();
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
            // Whoever stalls with a share of the delivery bytes is looked at more often.
            None if self.delivering.is_some() => {
                self.session.next_due().min(self.shared.now().after(SHARE_WITHIN))
            }
            None => self.session.next_due(),
        }
    }

    fn take_marks(&mut self, now: Moment, scratch: &mut Scratch) -> bool {
        let marks = self.place.handle().take_marks();
        let out = &mut scratch.actions;
        if marks.has(Mark::Tick) {
            self.session.tick(now, out);
            if self.delivering.is_some() && self.shared.is_short_of_shares() {
                self.session.give_way(SHARE_WITHIN, now, out);
            }
        }
        if marks.has(Mark::Displaced) {
            self.session.close(CloseReason::Displaced, out);
        }
        if marks.has(Mark::Stop) {
            self.session.close(CloseReason::ServiceRestart, out);
        }
        self.leaving |= marks.has(Mark::Drain);
        if self.leaving && self.request.is_none() {
            self.session.drain(now, out);
        }
        if marks.has(Mark::ReadAgain) {
            self.session.read_again(now, out);
        }
        marks.any()
    }

    fn take_answers(&mut self, cx: &mut Context<'_>, now: Moment, scratch: &mut Scratch) -> bool {
        let mut busy = false;
        if let Some(answer) = poll_slot(&mut self.request, cx) {
            self.answered(answer, now, scratch);
            if self.leaving {
                self.session.drain(now, &mut scratch.actions);
            }
            self.unread_is_ready = !self.unread.is_empty();
            busy = true;
        }
        if let Some((outcome, share)) = poll_slot(&mut self.page, cx) {
            self.hold(share);
            self.session.paged(outcome, now, &mut scratch.actions);
            busy = true;
        }
        if let Some(not_taken) = poll_slot(&mut self.acknowledging, cx) {
            // Storage has trouble: they are handed over again with the next ones, or when the channel ends.
            self.acknowledged.extend(not_taken);
            busy = true;
        }
        busy
    }

    fn take_wake_ups(&mut self, now: Moment, scratch: &mut Scratch) -> bool {
        let wake_ups = self.place.handle().take_wake_ups();
        let busy = !wake_ups.is_empty();
        for wake_up in wake_ups {
            self.session.woken(wake_up, now, &mut scratch.actions);
        }
        busy
    }

    /// Reads while the channel is ready for more, at most once.
    fn read(&mut self, cx: &mut Context<'_>, now: Moment, scratch: &mut Scratch) -> bool {
        if self.end.is_some() {
            return self.discard(cx, scratch);
        }
        if self.request.is_some() || !self.unwritten.is_empty() || self.session.is_closed() {
            return false;
        }
        if self.acknowledging.is_some() && self.acknowledged.len() >= PENDING_ACKNOWLEDGEMENTS {
            return false;
        }
        if std::mem::take(&mut self.unread_is_ready) {
            let mut unread = std::mem::take(&mut self.unread).into_vec();
            let rest = self.take_frames(&mut unread, now, scratch);
            self.keep_unread(unread.split_off(unread.len() - rest));
            return true;
        }
        let mut buffer = std::mem::take(&mut scratch.read);
        let busy = match self.read_once(cx, &mut buffer) {
            Poll::Pending => false,
            Poll::Ready(Ok(0) | Err(_)) => {
                self.begin_end(Closed::Lost, true, now);
                true
            }
            Poll::Ready(Ok(read)) => {
                self.take_bytes(&mut buffer[..read], now, scratch);
                true
            }
        };
        scratch.read = buffer;
        busy
    }

    fn read_once(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn take_bytes(&mut self, bytes: &mut [u8], now: Moment, scratch: &mut Scratch) {
        if self.unread.is_empty() {
            let rest = self.take_frames(bytes, now, scratch);
            self.keep_unread(bytes[bytes.len() - rest..].to_vec());
        } else {
            let mut unread = std::mem::take(&mut self.unread).into_vec();
            unread.extend_from_slice(bytes);
            let rest = self.take_frames(&mut unread, now, scratch);
            self.keep_unread(unread.split_off(unread.len() - rest));
        }
    }

    fn keep_unread(&mut self, rest: Vec<u8>) {
        if !rest.is_empty() {
            self.unread = rest.into();
        }
    }

    /// Takes whole frames until none is left or one has to wait, and returns how many bytes are left.
    fn take_frames(&mut self, bytes: &mut [u8], now: Moment, scratch: &mut Scratch) -> usize {
        let mut at = 0;
        // The reader is taken out for the time, because what it shows borrows from it.
        let mut frames = std::mem::replace(&mut self.frames, FrameReader::new(Reader::Service, 0));
        while self.request.is_none() && !self.session.is_closed() && self.end.is_none() {
            match frames.read(&mut bytes[at..]) {
                Ok(Some((incoming, taken))) => {
                    at += taken;
                    self.take_frame(&incoming, now, scratch);
                    self.perform(now, scratch);
                }
                Ok(None) => break,
                Err(error) => {
                    self.session.close(error.into(), &mut scratch.actions);
                    break;
                }
            }
        }
        self.frames = frames;
        bytes.len() - at
    }

    fn take_frame(&mut self, incoming: &Incoming<'_>, now: Moment, scratch: &mut Scratch) {
        self.session.heard(now);
        match incoming {
            Incoming::Text(text) => self.take_text(text, now, scratch),
            Incoming::Binary => self.session.close(CloseReason::Binary, &mut scratch.actions),
            Incoming::Ping(payload) => {
                if self.session.may_answer(now, &mut scratch.actions) {
                    write_pong(&mut scratch.out, None, payload);
                }
            }
            Incoming::Pong | Incoming::Fragment => {}
            Incoming::Close(code) => {
                write_close(&mut scratch.out, None, code.unwrap_or(1000), "");
                self.begin_end(Closed::Left, true, now);
            }
        }
    }

    /// Does what the session decided.
    fn perform(&mut self, now: Moment, scratch: &mut Scratch) -> bool {
        let mut busy = false;
        let mut actions = std::mem::take(&mut scratch.actions);
        for action in actions.drain(..) {
            busy = true;
            match action {
                Action::Offer(message) => {
                    self.shared.broker.offered(&message);
                    write_notification(&mut scratch.out, &message);
                }
                Action::Welcome { identity, fresh } => {
                    if fresh {
                        self.place.claim(identity.id());
                    }
                    write_hello(&mut scratch.out, &identity);
                }
                Action::Attach { user_agent, head } => self.attach(user_agent, head),
                Action::Page(request) => self.wanted = Some(Box::new(request)),
                Action::Acknowledge(messages) => self.acknowledged.extend(messages),
                Action::Ping => write_ping(&mut scratch.out, None, b""),
                Action::Unheard => self.shared.broker.metrics().removed(Removed::Unheard, 1),
                Action::Unacknowledged(count) => self.shared.broker.metrics().unacknowledged(count as u64),
                Action::Close(reason) => {
                    write_close(&mut scratch.out, None, close_code(reason), close_text(reason));
                    self.begin_end(closed_for(reason), false, now);
                }
            }
        }
        scratch.actions = actions;
        busy
    }

    /// Everything that one turn acknowledged is one step of storage.
    fn hand_over_acknowledged(&mut self) -> bool {
        if self.acknowledged.is_empty() || self.acknowledging.is_some() || self.end.is_some() {
            return false;
        }
        let Some(user_agent) = self.session.user_agent() else {
            return false;
        };
        let messages = std::mem::take(&mut self.acknowledged);
        let (broker, seat) = (Arc::clone(&self.shared.broker), self.place.handle().seat());
        self.acknowledging = Some(Box::pin(async move {
            match broker.acknowledge(user_agent, &messages, seat).await {
                Ok(()) => Vec::new(),
                Err(_) => {
                    tokio::time::sleep(STORAGE_RETRY_AFTER).await;
                    messages
                }
            }
        }));
        true
    }

    /// Writes what this turn produced, once; owns only what the socket did not take.
    fn write(&mut self, cx: &mut Context<'_>, now: Moment, scratch: &mut Scratch) -> bool {
        if self.unwritten.is_empty() && scratch.out.is_empty() && !self.flushing {
            self.delivering = None;
            return false;
        }
        let had_rest = !self.unwritten.is_empty() || self.flushing;
        let unwritten = std::mem::take(&mut self.unwritten);
        let written = if unwritten.is_empty() {
            self.write_some(cx, &scratch.out)
                .map(|written| scratch.out[written..].into())
        } else {
            let all = [&unwritten, scratch.out.as_slice()].concat();
            self.write_some(cx, &all).map(|written| all[written..].into())
        };
        scratch.out.clear();
        match written {
            Ok(rest) => self.unwritten = rest,
            Err(_) => {
                self.flushing = false;
                self.begin_end(Closed::Lost, true, now);
                return true;
            }
        }
        let open = self.unwritten.is_empty() && !self.flushing;
        self.shrink_share();
        self.session.set_writable(open, now, &mut scratch.actions);
        open && had_rest
    }

    /// Writes and flushes as much as the socket takes now.
    fn write_some(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut self.io).poll_write(cx, &bytes[written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(more)) => written += more,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.flushing = match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => true,
        };
        Ok(written)
    }

    /// The channel is over: what was acknowledged is flushed and the seat given up, while the peer reads the close.
    fn begin_end(&mut self, why: Closed, peer_done: bool, now: Moment) {
        if let Some(end) = &mut self.end {
            end.peer_done |= peer_done;
            return;
        }
        self.closed = why;
        self.session.ended();
        let recorded = self.session.user_agent().filter(|_| self.session.is_recorded());
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
    fn discard(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> bool {
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

    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
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

impl<Io, Guard> WebSocketChannel<Io, Guard> {
    /// Keeps of the node's delivery bytes only as much as is still to be written.
    fn shrink_share(&mut self) {
        let kib = self.unwritten.len().div_ceil(1024);
        if kib == 0 {
            self.delivering = None;
        } else if let Some(share) = &mut self.delivering {
            drop(share.split(share.num_permits().saturating_sub(kib)));
        }
    }

    /// Takes a share of the node's delivery bytes, beside the one of a page that is still being written.
    fn hold(&mut self, share: Option<OwnedSemaphorePermit>) {
        match (&mut self.delivering, share) {
            (Some(held), Some(share)) => held.merge(share),
            (held, Some(share)) => *held = Some(share),
            (_, None) => {}
        }
    }
}

impl<Io, Guard> Drop for WebSocketChannel<Io, Guard> {
    fn drop(&mut self) {
        self.shared
            .broker
            .metrics()
            .channel(ChannelKind::WebSocket, Channel::Closed(self.closed));
    }
}

fn closed_for(reason: CloseReason) -> Closed {
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
        CloseReason::Displaced => Closed::Displaced,
        CloseReason::PongTimeout => Closed::PongTimeout,
        CloseReason::SlowReader => Closed::SlowReader,
        CloseReason::TryAgainLater | CloseReason::ServiceRestart => Closed::Storage,
        CloseReason::GoingAway => Closed::Drain,
    }
}

/// Polls a step of storage, and frees its slot when it has an answer.
fn poll_slot<T>(slot: &mut Option<BoxFuture<'static, T>>, cx: &mut Context<'_>) -> Option<T> {
    let Poll::Ready(answer) = slot.as_mut()?.as_mut().poll(cx) else {
        return None;
    };
    *slot = None;
    Some(answer)
}

//! One WebSocket channel: the task that owns a connection and does what its session decides.
//!
//! Each poll looks, in this order, at what the node says (deadlines, drain), at wake-ups, at what storage answered, and
//! at the socket; then it writes once. Buffers to read into and to write from belong to the thread and are borrowed for
//! one poll: an idle channel owns neither, only the rest of a frame or of a write that could not be finished.
//!
//! Nothing is read while a request waits for storage or while the peer doesn't take what is written: a user agent can't
//! make the node hold more than one answer for it.

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
use push_protocol::MessageId;
use push_protocol::session::{Action, CloseReason, Moment, PageOutcome, PageRequest, Session};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_close, write_ping, write_pong};
use push_protocol::wire::websocket::{close_code, close_text, write_hello, write_notification};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

use self::end::{End, closed_for};
use self::paying::Slowed;
use self::requests::Answer;
use self::scratch::Scratch;
use super::handle::Mark;
use super::registry::Place;
use super::{Channels, Guard, poll_slot};
use crate::broker::waited;
use crate::defaults::{COST_FRAME, FRAME_BYTES, SHARE_WITHIN, STORAGE_RETRY_AFTER};
use crate::metrics::{Channel, ChannelKind, Closed, Removed};

/// A channel over a WebSocket. A future: resolves when the connection has ended and its seat was given up.
///
/// `G` has to live as long as the connection.
pub(super) struct WebSocketChannel<Io, G> {
    io: Io,
    shared: Arc<Channels>,
    place: Place,
    session: Session,
    frames: FrameReader,
    /// What was read and is no whole frame yet, or waits behind a request.
    unread: Box<[u8]>,
    /// Whether `unread` may begin with a whole frame.
    unread_is_ready: bool,
    /// Storage was never asked for the seat: there is nothing to give up.
    has_no_seat: bool,
    /// Its hello was answered.
    is_welcome: bool,
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
    /// How many those are.
    handed_over: usize,
    /// Acknowledged by the user agent, not yet handed to storage.
    acknowledged: Vec<MessageId>,
    end: Option<Box<End>>,
    closed: Closed,
    /// Boxed, because few channels are ever slowed down.
    slowed: Option<Box<Slowed>>,
    guard: G,
}

impl<Io: AsyncRead + AsyncWrite + Unpin, G: Guard> Future for WebSocketChannel<Io, G> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let channel = self.get_mut();
        channel.place.handle().listen(cx.waker());
        let mut scratch = Scratch::borrow();
        let polled = channel.run(cx, &mut scratch);
        scratch.give_back();
        if polled.is_pending() {
            let handle = channel.place.handle();
            handle.set_due(channel.next_due());
            handle.set_cursor(channel.session.cursor());
        }
        polled
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin, G: Guard> WebSocketChannel<Io, G> {
    pub(super) fn new(io: Io, leftover: &[u8], guard: G, shared: Arc<Channels>) -> Self {
        let place = shared.registry.enter();
        let session = Session::new(Arc::clone(&shared.limits), shared.now());
        shared.metrics.channel(ChannelKind::WebSocket, Channel::Opened);
        Self {
            io,
            place,
            session,
            frames: FrameReader::new(Reader::Service, FRAME_BYTES),
            unread_is_ready: !leftover.is_empty(),
            unread: leftover.into(),
            has_no_seat: false,
            is_welcome: false,
            leaving: shared.is_leaving(),
            unwritten: Box::default(),
            flushing: false,
            delivering: None,
            request: None,
            page: None,
            wanted: None,
            acknowledging: None,
            handed_over: 0,
            acknowledged: Vec::new(),
            end: None,
            closed: Closed::Lost,
            slowed: None,
            guard,
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
        let slowed = self.slowed_until(self.shared.now()).unwrap_or(Moment::NEVER);
        match &self.end {
            Some(end) => end.until,
            // Whoever stalls with a share of the delivery bytes is looked at more often.
            None if self.delivering.is_some() => {
                let share_due = self.shared.now().after(SHARE_WITHIN);
                self.session.next_due().min(share_due).min(slowed)
            }
            None => self.session.next_due().min(slowed),
        }
    }

    fn take_marks(&mut self, now: Moment, scratch: &mut Scratch) -> bool {
        let marks = self.place.handle().take_marks();
        self.leaving |= marks.has(Mark::Drain);
        let drains = self.leaving && self.request.is_none();
        let is_in_the_way = || self.delivering.is_some() && self.shared.is_short_of_shares();
        marks.tell(
            &mut self.session,
            drains,
            is_in_the_way,
            now,
            &mut scratch.actions,
        );
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
            self.handed_over = 0;
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
        let mut busy = false;
        let mut actions = std::mem::take(&mut scratch.actions);
        for action in actions.drain(..) {
            busy = true;
            match action {
                Action::Offer(message) => {
                    self.shared.metrics.delivered(waited(message.id.number));
                    write_notification(&mut scratch.out, &message);
                }
                Action::Welcome { identity, fresh } => {
                    self.is_welcome = true;
                    if fresh {
                        self.place.claim(identity.id());
                    }
                    write_hello(&mut scratch.out, &identity);
                }
                Action::Attach { user_agent, head } => self.attach(user_agent, head),
                Action::Page(request) => self.wanted = Some(Box::new(request)),
                Action::Acknowledge(messages) if self.acknowledged.is_empty() => self.acknowledged = messages,
                Action::Acknowledge(messages) => self.acknowledged.extend(messages),
                Action::Ping => write_ping(&mut scratch.out, None, b""),
                Action::Unheard => self.shared.metrics.removed(Removed::Unheard, 1),
                Action::Unacknowledged(count) => self.shared.metrics.unacknowledged(count as u64),
                // Its user agent knows what it unregisters, and is told at its next hello of what others ended.
                Action::Ended(_) => {}
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
        if self.acknowledged.is_empty() || self.acknowledging.is_some() {
            return false;
        }
        let Some(user_agent) = self.session.user_agent() else {
            return false;
        };
        let messages = std::mem::take(&mut self.acknowledged);
        self.handed_over = messages.len();
        let (broker, seat) = (Arc::clone(&self.shared.broker), self.place.handle().seat());
        let is_last = self.end.is_some();
        self.acknowledging = Some(Box::pin(async move {
            match broker.acknowledge(user_agent, &messages, seat).await {
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
}

impl<Io, G> Drop for WebSocketChannel<Io, G> {
    fn drop(&mut self) {
        self.shared
            .metrics
            .channel(ChannelKind::WebSocket, Channel::Closed(self.closed));
    }
}

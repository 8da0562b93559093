//! What the pushes of one HTTP/2 connection share: how many the peer takes, in which order they are promised, and which of them
//! have arrived.
//!
//! `h2` takes any number of promises and does not say when one has arrived. A peer that is promised more streams than it allows
//! drops the connection. So each push takes a [`StreamSlot`] here, of as many as the peer has streams, and gives it back when its
//! message is acknowledged, when its stream is reset, or when a PING that was sent behind it was answered (PR-19).
//!
//! | part | what it knows |
//! |---|---|
//! | [`Streams`] | how many streams the peer takes, how many are in use, how many stream ids are left |
//! | [`PromiseOrder`] | which request may promise now, so that promises go out in the order of their stream ids |
//! | [`Confirmation`] | what is asked for, what a PING is sent for, what is confirmed |
//!
//! The link knows neither messages nor sessions. The connection's task and the monitors' tasks meet here and wake each other.

mod confirmation;
mod order;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;

use self::confirmation::Confirmation;
use self::order::PromiseOrder;
use self::streams::Streams;

/// The pushes of one connection.
#[derive(Default)]
pub struct PushLink {
    state: Mutex<LinkState>,
    /// The task that polls the connection.
    connection: AtomicWaker,
    /// Requests answered and messages pushed that the connection has not counted yet.
    answered: AtomicU32,
}

#[derive(Default)]
struct LinkState {
    streams: Streams,
    order: PromiseOrder,
    confirmation: Confirmation,
    /// How many requests have monitored: each has a number.
    requests: u64,
    /// The connection is to say GOAWAY.
    is_leaving: bool,
    /// The peer has sent GOAWAY.
    peer_leaves: bool,
    has_ended: bool,
    /// Monitors' tasks: one for each user agent on the connection, and rarely more than one.
    waiting: Vec<Waker>,
}

/// One of the streams that the peer takes. Dropping it gives the stream back.
pub(super) struct StreamSlot {
    link: Arc<PushLink>,
    is_promised: bool,
}

/// Why there is no slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoSlot {
    /// As many are in use as the peer allows.
    InUse,
    /// What was promised on another request has to be written first.
    NotYet,
    /// The peer has sent GOAWAY, or the connection has no stream ids left.
    Never,
}

/// One poll of the connection: it begins before `h2` is polled, and [`ConnectionPoll::end`] follows what `h2` did. Dropped
/// without it, nothing counts as written.
#[must_use = "end it when `h2` was polled"]
pub struct ConnectionPoll<'a> {
    link: &'a PushLink,
    /// What was asked before the poll, and so behind frames that the poll sees.
    asked: u64,
}

/// The connection's side.
impl PushLink {
    /// Of a connection that begins.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A poll of the connection begins. The waker is woken when the connection has to be polled again.
    pub fn begin_poll(&self, waker: &Waker) -> ConnectionPoll<'_> {
        self.connection.register(waker);
        let mut state = self.lock();
        state.order.begin_poll();
        ConnectionPoll {
            link: self,
            asked: state.confirmation.asked(),
        }
    }

    /// The PING was answered.
    pub fn ponged(&self) {
        let mut state = self.lock();
        let peer_leaves = state.peer_leaves;
        if state.confirmation.ponged(peer_leaves) {
            state.wake();
        }
    }

    /// The peer has sent GOAWAY: no stream may be opened towards it any more (RFC 9113 §6.8).
    pub fn peer_leaves(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.peer_leaves, true) {
            state.wake();
        }
    }

    /// How many requests were answered and messages pushed since the last call.
    pub fn take_answered(&self) -> u32 {
        self.answered.swap(0, Ordering::Relaxed)
    }

    /// Whether the connection is to say GOAWAY.
    pub fn is_leaving(&self) -> bool {
        self.lock().is_leaving
    }

    /// The connection is gone.
    pub fn end(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        state.wake();
    }
}

impl ConnectionPoll<'_> {
    /// `h2` was polled. `allowed` is how many streams the peer takes; `is_written` says that everything the poll found has
    /// reached the socket. Returns whether to send a PING: `h2` would send it before everything that it holds back.
    pub fn end(self, allowed: usize, is_written: bool) -> bool {
        let mut state = self.link.lock();
        if state.streams.allow(allowed) {
            state.wake();
        }
        if is_written && state.order.written() {
            state.wake();
        }
        if state.streams.are_exceeded() {
            state.confirmation.doubt();
        }
        if state.confirmation.is_in_vain(self.asked) {
            // The monitor that asked is to come back over a connection that has promised no more than its peer takes.
            state.is_leaving = true;
        }
        is_written && state.confirmation.begin_ping(self.asked)
    }
}

/// The monitors' side.
impl PushLink {
    /// Called by a monitor's task at the start of each poll. Returns whether the connection still lives.
    pub(super) fn listen(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if !state.waiting.iter().any(|known| known.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        !state.has_ended
    }

    /// Called by a monitor's task that ends: a connection may outlive any number of them.
    pub(super) fn listen_no_more(&self, waker: &Waker) {
        self.lock().waiting.retain(|known| !known.will_wake(waker));
    }

    /// Whether the peer takes pushes, as far as its settings and its GOAWAY say.
    pub(super) fn takes_any(&self) -> bool {
        let state = self.lock();
        state.streams.takes_any() && !state.peer_leaves
    }

    /// Counts a stream id that `h2` has used for a promise that cannot be sent.
    pub(super) fn waste_stream_id(&self) {
        if self.lock().use_stream_id() {
            self.connection.wake();
        }
    }

    /// Whether no further message may be promised on this connection.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.peer_leaves || !state.streams.has_ids()
    }

    /// The number of a request that begins to monitor.
    pub(super) fn request(&self) -> u64 {
        let mut state = self.lock();
        state.requests += 1;
        state.requests
    }

    /// A stream for a promise on this request, if one is free.
    pub(super) fn take(self: &Arc<Self>, request: u64) -> Result<StreamSlot, NoSlot> {
        let mut state = self.lock();
        if state.peer_leaves || !state.streams.has_ids() {
            return Err(NoSlot::Never);
        }
        if !state.streams.has_free() {
            return Err(NoSlot::InUse);
        }
        if !state.order.begin_promise(request) {
            self.connection.wake();
            return Err(NoSlot::NotYet);
        }
        state.streams.take();
        if state.use_stream_id() {
            self.connection.wake();
        }
        self.answered();
        Ok(StreamSlot {
            link: Arc::clone(self),
            is_promised: false,
        })
    }

    /// A monitoring request was answered, or a message is pushed: the connection counts either in the peer's favour.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for a sign that everything which was handed to `h2` so far has arrived. It has when [`PushLink::confirmed`] is no
    /// less than what this returns.
    pub(super) fn ask(&self) -> u64 {
        let asked = self.lock().confirmation.ask();
        self.connection.wake();
        asked
    }

    pub(super) fn confirmed(&self) -> u64 {
        self.lock().confirmation.confirmed()
    }

    /// Like [`PushLink::confirmed`], for promises.
    pub(super) fn arrived(&self) -> u64 {
        self.lock().confirmation.arrived()
    }

    /// The peer has to use another connection: the node leaves, or the peer exceeds its limits.
    pub(crate) fn leave(&self) {
        self.lock().is_leaving = true;
        self.connection.wake();
    }

    #[cfg(test)]
    pub(super) fn has_listeners(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinkState {
    fn wake(&mut self) {
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
    }

    /// Returns whether it was the last one. Stream ids are never used again (R30-H2-6): the peer goes on over another
    /// connection.
    fn use_stream_id(&mut self) -> bool {
        self.streams.use_id();
        let is_last = !self.streams.has_ids();
        self.is_leaving |= is_last;
        is_last
    }
}

impl StreamSlot {
    /// `h2` has the promise.
    pub(super) fn is_promised(&mut self) {
        self.is_promised = true;
        self.link.lock().order.promised();
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        if !self.is_promised {
            state.order.not_promised();
        }
        state.streams.give_back();
        state.wake();
    }
}

//! What the monitors of one HTTP/2 connection share: how many pushes the peer takes, and what of them has arrived.
//!
//! `h2` takes any number of promises and says of none that it has arrived. A peer that is promised more than it allows
//! drops the connection. So every push takes a [`Place`] here, of as many as the peer has streams; it gives it back when
//! its message is acknowledged or its stream is reset, or when a PING was answered that was sent behind it (PR-19).
//!
//! Knows neither messages nor sessions. The connection's task and the monitors' tasks meet here, and wake each other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use push_protocol::UserAgentId;
use tokio::sync::mpsc;

use super::Monitor;
use crate::defaults::{MONITORS_ENTERING, PROMISES};

/// The pushes of one connection.
#[derive(Default)]
pub struct PushLink {
    state: Mutex<State>,
    /// Whoever polls the connection.
    connection: AtomicWaker,
    /// Requests answered and messages brought that the connection has not counted yet.
    answered: AtomicU32,
}

#[derive(Default)]
struct State {
    /// Streams that the peer takes at a time.
    allowed: usize,
    taken: usize,
    /// How many times somebody asked for a sign that all before has arrived, and up to which of them it came.
    asked: u64,
    confirmed: u64,
    /// The same for promises: a peer that has sent GOAWAY ignores them, and still answers the PING that follows them.
    arrived: u64,
    /// What had been asked when the PING went out that is under way.
    sent: Option<u64>,
    /// The peer takes fewer streams than are out: what `h2` holds back no PING comes behind, so none confirms anything.
    doubted: bool,
    /// How many requests monitor or did: each has a number.
    requests: u64,
    /// Who promises, and of how many promises `h2` has not been told yet.
    promising: u64,
    untold: usize,
    /// How many it was told of, how many of them when the connection was polled last, and how many have reached the socket.
    promised: u64,
    polling: u64,
    written: u64,
    /// Somebody waits until all have.
    turns_wanted: bool,
    leaving: bool,
    /// The peer has sent GOAWAY.
    peer_leaves: bool,
    ended: bool,
    /// Monitors' tasks: one for each user agent on the connection, hardly ever more than one.
    waiting: Vec<Waker>,
    entrances: HashMap<UserAgentId, mpsc::Sender<Monitor>>,
}

/// One of the streams that the peer takes.
pub(super) struct Place {
    link: Arc<PushLink>,
    is_promised: bool,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoPlace {
    /// As many are taken as the peer allows.
    Taken,
    /// What was promised on another request is to be written first.
    NotYet,
    /// The peer has sent GOAWAY.
    Never,
}

impl PushLink {
    /// Of a connection that begins.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    // The connection's side.

    /// Called before each poll of the connection: what was asked by then was asked behind frames that the poll will see.
    pub fn polling(&self, waker: &Waker) -> u64 {
        self.connection.register(waker);
        let mut state = self.lock();
        state.polling = state.promised;
        state.asked
    }

    /// Called behind it: `allowed` is how many streams the peer takes; `asked` is what [`PushLink::polling`] returned;
    /// `written` says that everything which the poll found has reached the socket. Returns whether to send a PING: `h2`
    /// would send it before all that it holds back.
    pub fn polled(&self, allowed: usize, asked: u64, written: bool) -> bool {
        let mut state = self.lock();
        let allowed = allowed.min(PROMISES);
        if allowed != state.allowed {
            state.allowed = allowed;
            state.wake();
        }
        if written {
            state.written = state.polling;
            if std::mem::take(&mut state.turns_wanted) {
                state.wake();
            }
        }
        state.doubted |= allowed < state.taken;
        if state.doubted && asked > state.confirmed {
            // Whoever waits for a sign is to come back over a connection that has promised no more than its peer takes.
            state.leaving = true;
        }
        let wanted = written && !state.doubted && state.sent.is_none() && asked > state.confirmed;
        if wanted {
            state.sent = Some(asked);
        }
        wanted
    }

    /// The PING was answered.
    pub fn ponged(&self) {
        let mut state = self.lock();
        if let Some(sent) = state.sent.take() {
            state.confirmed = sent;
            if !state.peer_leaves {
                state.arrived = sent;
            }
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

    /// How many requests were answered and messages pushed since this was asked last.
    pub fn take_answered(&self) -> u32 {
        self.answered.swap(0, Ordering::Relaxed)
    }

    /// Whether the connection is to say GOAWAY.
    pub fn is_leaving(&self) -> bool {
        self.lock().leaving
    }

    /// The connection is gone.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.entrances.clear();
        state.wake();
    }

    // The monitors' side.

    /// Puts a monitor to those of the same user agent; gives it back with a new entrance if it is the first.
    pub(super) fn enter(
        &self,
        user_agent: UserAgentId,
        monitor: Monitor,
    ) -> Result<(), (Monitor, mpsc::Receiver<Monitor>)> {
        let mut state = self.lock();
        let monitor = match state.entrances.get(&user_agent) {
            None => monitor,
            Some(entrance) => match entrance.try_send(monitor) {
                Ok(()) => return Ok(()),
                // Over, or overrun: a new session takes the seat.
                Err(
                    mpsc::error::TrySendError::Full(monitor) | mpsc::error::TrySendError::Closed(monitor),
                ) => monitor,
            },
        };
        let (entrance, entering) = mpsc::channel(MONITORS_ENTERING);
        state.entrances.insert(user_agent, entrance);
        Err((monitor, entering))
    }

    /// Called by a task that nobody enters any more: a connection may outlive any number of them.
    pub(super) fn left(&self, user_agent: UserAgentId, waker: &Waker) {
        let mut state = self.lock();
        state.waiting.retain(|known| !known.will_wake(waker));
        if state
            .entrances
            .get(&user_agent)
            .is_some_and(mpsc::Sender::is_closed)
        {
            state.entrances.remove(&user_agent);
        }
    }

    /// Called by a monitor's task at the start of each poll. Says whether the connection still lives.
    pub(super) fn listen(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if !state.waiting.iter().any(|known| known.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        !state.ended
    }

    /// Whether the peer takes pushes as far as its settings say.
    pub(super) fn takes_any(&self) -> bool {
        let state = self.lock();
        state.allowed > 0 && !state.peer_leaves
    }

    /// Whether no further message may be promised on this connection.
    pub(super) fn is_over(&self) -> bool {
        self.lock().peer_leaves
    }

    /// The number of a request that begins to monitor.
    pub(super) fn request(&self) -> u64 {
        let mut state = self.lock();
        state.requests += 1;
        state.requests
    }

    /// A stream for a promise on this request, if one is free.
    ///
    /// `h2` writes what it holds of several requests in turns, and so promises out of the order of their streams, which ends
    /// the connection (RFC 9113 §5.1.1). **Invariant:** it holds promises of one request at a time.
    pub(super) fn take(self: &Arc<Self>, request: u64) -> Result<Place, NoPlace> {
        let mut state = self.lock();
        if state.peer_leaves {
            return Err(NoPlace::Never);
        }
        if state.taken >= state.allowed {
            return Err(NoPlace::Taken);
        }
        let is_clear = state.untold == 0 && state.written == state.promised;
        if state.promising != request && !is_clear {
            state.turns_wanted = true;
            self.connection.wake();
            return Err(NoPlace::NotYet);
        }
        state.promising = request;
        state.untold += 1;
        state.taken += 1;
        self.answered();
        Ok(Place {
            link: Arc::clone(self),
            is_promised: false,
        })
    }

    /// A monitoring request was answered, or a message is brought: either counts for the peer.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for a sign that all which was handed to `h2` so far has arrived. It has when [`PushLink::confirmed`] is no
    /// less than what this returns.
    pub(super) fn ask(&self) -> u64 {
        let mut state = self.lock();
        state.asked += 1;
        let asked = state.asked;
        drop(state);
        self.connection.wake();
        asked
    }

    pub(super) fn confirmed(&self) -> u64 {
        self.lock().confirmed
    }

    /// Like [`PushLink::confirmed`], for promises.
    pub(super) fn arrived(&self) -> u64 {
        self.lock().arrived
    }

    /// The peer has to use another connection: the node shuts down, or the peer exceeds its limits.
    pub(crate) fn leave(&self) {
        self.lock().leaving = true;
        self.connection.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

impl Place {
    /// `h2` has the promise.
    pub(super) fn is_promised(&mut self) {
        self.is_promised = true;
        let mut state = self.link.lock();
        state.untold -= 1;
        state.promised += 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.untold -= usize::from(!self.is_promised);
        state.taken -= 1;
        state.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn link(allowed: usize) -> Arc<PushLink> {
        let link = PushLink::new();
        link.polled(allowed, 0, false);
        link
    }

    /// PR-19, R30-H2-2: no more is promised than the peer has streams, and no peer gets more than our own bound.
    #[test]
    fn the_peers_streams_are_the_bound() {
        let link = link(2);
        let (one, two) = (link.take(1), link.take(1));
        assert!(one.is_ok() && two.is_ok() && link.take(1).is_err());
        drop(one);
        assert!(link.take(1).is_ok());
        link.polled(usize::MAX, 0, false);
        let all: Vec<_> = std::iter::from_fn(|| link.take(1).ok()).collect();
        assert_eq!(all.len(), PROMISES - 1);
    }

    /// RFC 9113 §6.8, PR-25: after the peer's GOAWAY no promise can be sent, and an answered PING says that the peer
    /// lives, but not that a promise arrived.
    #[test]
    fn nothing_is_promised_behind_the_peers_goaway() {
        let link = link(2);
        let open = link.take(1);
        let asked = link.ask();
        let before = link.polling(Waker::noop());
        assert!(link.polled(2, before, true), "a PING goes out");
        link.peer_leaves();
        assert_eq!(link.take(1).err(), Some(NoPlace::Never));
        link.ponged();
        assert!(link.confirmed() >= asked && link.arrived() < asked);
        assert!(link.is_over() && !link.takes_any());
        drop(open);
        assert_eq!(link.take(1).err(), Some(NoPlace::Never));
    }

    /// RFC 9113 §5.1.1: promises of another request wait until all before them are written, and are waited for.
    #[test]
    fn requests_promise_in_turn() {
        let link = link(usize::MAX);
        let polled = |written| {
            let before = link.polling(Waker::noop());
            link.polled(usize::MAX, before, written);
        };
        let (one, other) = (link.request(), link.request());
        let mut first = link.take(one).unwrap();
        assert!(link.take(one).is_ok(), "and dropped");
        polled(true);
        assert_eq!(
            link.take(other).err(),
            Some(NoPlace::NotYet),
            "about to be promised"
        );
        let before = link.polling(Waker::noop());
        first.is_promised();
        link.polled(usize::MAX, before, true);
        assert_eq!(link.take(other).err(), Some(NoPlace::NotYet), "behind the poll");
        polled(false);
        assert_eq!(link.take(other).err(), Some(NoPlace::NotYet), "held back");
        polled(true);
        let second = link.take(other).unwrap();
        assert_eq!(link.take(one).err(), Some(NoPlace::NotYet));
        drop(second);
        assert!(link.take(one).is_ok(), "nothing came of it");
    }

    /// A peer that lowers its limit gets nothing more until it has fewer streams open than that.
    #[test]
    fn a_lowered_limit_holds() {
        let link = link(2);
        let open = [link.take(1), link.take(1)];
        link.polled(1, 0, false);
        assert!(link.takes_any());
        let [one, two] = open;
        drop(one);
        assert!(link.take(1).is_err());
        drop(two);
        assert!(link.take(1).is_ok());
    }

    /// PR-25: a peer that lowers its limit below what is out may be kept waiting for some of it by `h2`; a PING would
    /// overtake that and confirm what has not arrived. The peer is to come back over another connection.
    #[test]
    fn nothing_is_confirmed_once_the_limit_is_below_what_is_out() {
        let link = link(2);
        let open = [link.take(1), link.take(1)];
        let asked = link.ask();
        let before = link.polling(Waker::noop());
        assert!(
            !link.polled(1, before, true),
            "one of the two may not have been sent"
        );
        drop(open);
        assert!(
            !link.polled(2, before, true),
            "nor do we know whether it was since"
        );
        assert!(link.is_leaving() && link.confirmed() < asked);
    }

    /// Nothing is kept of a user agent whose monitors have all gone, however long the connection lives: a peer could name
    /// any number of them.
    #[test]
    fn who_has_left_is_forgotten() {
        struct Task;
        impl std::task::Wake for Task {
            fn wake(self: Arc<Self>) {}
        }
        let waker = Waker::from(Arc::new(Task));
        let link = link(2);
        let (entrance, entering) = mpsc::channel(1);
        let (one, other) = (UserAgentId([1; 16]), UserAgentId([2; 16]));
        link.lock().entrances.insert(one, entrance);
        assert!(link.listen(&waker));
        link.left(other, &waker);
        assert!(link.lock().waiting.is_empty());
        link.left(one, &waker);
        assert_eq!(link.lock().entrances.len(), 1, "somebody may still enter");
        drop(entering);
        link.left(one, &waker);
        assert!(link.lock().entrances.is_empty());
    }

    /// PR-25: a PING goes out behind what was asked for before the poll that wrote it, never while something is held
    /// back, and one at a time; its answer confirms what was asked when it went out.
    #[test]
    fn a_ping_confirms_what_was_written_before_it() {
        let link = link(1);
        let before = link.polling(Waker::noop());
        let asked = link.ask();
        assert!(
            !link.polled(1, before, true),
            "asked while the connection was polled"
        );
        let before = link.polling(Waker::noop());
        assert!(!link.polled(1, before, false), "something is held back");
        assert!(link.polled(1, before, true));
        let later = link.ask();
        let before = link.polling(Waker::noop());
        assert!(!link.polled(1, before, true), "one is under way");
        assert!(link.confirmed() < asked);
        link.ponged();
        assert!(link.confirmed() >= asked && link.confirmed() < later);
        assert!(
            link.polled(1, before, true),
            "the next goes out for what was asked since"
        );
    }
}

//! What the rest of the process holds of a channel: a small inbox, and a way to wake the channel's task.
//!
//! Guarantees: telling a channel something never waits and never takes more memory than the inbox's bound. A wake-up that does not
//! fit becomes the mark [`Mark::ReadAgain`]: its message is not lost, but found in storage (PR-11).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use futures_util::task::AtomicWaker;
use push_protocol::MessageNumber;
use push_protocol::session::{Moment, WakeUp};

use crate::defaults::INBOX_MESSAGES;
use crate::storage::Seat;

/// What a channel is told beside wake-ups. A mark that is set twice before the channel looks is seen once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Mark {
    /// A wake-up did not fit into the inbox.
    ReadAgain = 1,
    /// A deadline has come.
    Tick = 2,
    /// The user agent has a newer channel.
    Displaced = 4,
    /// The node leaves.
    Drain = 8,
    /// Storage failed: the node stops.
    Stop = 16,
}

/// The marks that were set since the channel looked last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marks(u8);

impl Marks {
    pub(super) fn has(self, mark: Mark) -> bool {
        self.0 & mark as u8 != 0
    }

    pub(super) fn any(self) -> bool {
        self.0 != 0
    }
}

/// Instead of a cursor: the session holds no seat that storage could know of. No message has that number.
const NO_SEAT: u64 = u64::MAX;

/// A channel, as the registry knows it.
pub(super) struct Handle {
    seat: Seat,
    marks: AtomicU8,
    /// The channel has ended: an attach in flight need not wait for its turn.
    seat_given_up: AtomicBool,
    /// When the channel wants a [`Mark::Tick`], in milliseconds of the node's clock.
    due: AtomicU64,
    /// How far its session has come in the queue, or [`NO_SEAT`].
    cursor: AtomicU64,
    waker: AtomicWaker,
    inbox: Mutex<VecDeque<WakeUp>>,
}

impl Handle {
    pub(super) fn new(seat: Seat) -> Self {
        Self {
            seat,
            marks: AtomicU8::new(0),
            seat_given_up: AtomicBool::new(false),
            due: AtomicU64::new(Moment::NEVER.0),
            cursor: AtomicU64::new(NO_SEAT),
            waker: AtomicWaker::new(),
            inbox: Mutex::default(),
        }
    }

    pub(super) fn seat(&self) -> Seat {
        self.seat
    }

    /// Called by the channel's task at the start of each poll.
    pub(super) fn listen(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(super) fn tell(&self, wake_up: WakeUp) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.len() < INBOX_MESSAGES {
            inbox.push_back(wake_up);
            drop(inbox);
            self.waker.wake();
        } else {
            drop(inbox);
            self.mark(Mark::ReadAgain);
        }
    }

    pub(super) fn mark(&self, mark: Mark) {
        self.marks.fetch_or(mark as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    pub(super) fn take_marks(&self) -> Marks {
        // Usually no mark is set, and a load is cheaper than a swap.
        if self.marks.load(Ordering::Acquire) == 0 {
            return Marks(0);
        }
        Marks(self.marks.swap(0, Ordering::AcqRel))
    }

    /// Every wake-up so far. Leaves an inbox without capacity.
    pub(super) fn take_wake_ups(&self) -> VecDeque<WakeUp> {
        std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The channel wants no seat any more. Called by the channel's task, which then polls its attach again.
    pub(super) fn give_up_seat(&self) {
        self.seat_given_up.store(true, Ordering::Relaxed);
    }

    /// Resolves once the channel wants no seat any more. It wakes nothing: only the channel's own task gives the seat up.
    pub(super) fn seat_given_up(&self) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(|_| match self.seat_given_up.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
    }

    pub(super) fn set_due(&self, due: Moment) {
        self.due.store(due.0, Ordering::Relaxed);
    }

    /// How far the channel's session has come, or that it holds no seat. Storage is compared with this, so that an idle
    /// session is not woken to be asked (PR-14).
    pub(super) fn set_cursor(&self, cursor: Option<MessageNumber>) {
        let number = cursor.map_or(NO_SEAT, |cursor| cursor.0);
        self.cursor.store(number, Ordering::Release);
    }

    pub(super) fn cursor(&self) -> Option<MessageNumber> {
        let number = self.cursor.load(Ordering::Acquire);
        (number != NO_SEAT).then_some(MessageNumber(number))
    }

    /// Marks the channel if its deadline has come.
    pub(super) fn tick(&self, now: Moment) {
        if self.due.load(Ordering::Relaxed) <= now.0 {
            self.due.store(Moment::NEVER.0, Ordering::Relaxed);
            self.mark(Mark::Tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-11: a full inbox turns further wake-ups into one mark, and gives its memory back when it is emptied.
    #[test]
    fn a_full_inbox_says_read_again() {
        let handle = Handle::new(Seat {
            incarnation: 1,
            session: 2,
        });
        for _ in 0..INBOX_MESSAGES {
            handle.tell(WakeUp::Removed(Vec::new()));
        }
        assert!(!handle.take_marks().any());
        handle.tell(WakeUp::Removed(Vec::new()));
        assert!(handle.take_marks().has(Mark::ReadAgain));
        assert_eq!(handle.take_wake_ups().len(), INBOX_MESSAGES);
        assert_eq!(handle.inbox.lock().unwrap().capacity(), 0);
    }

    /// A deadline is told once.
    #[test]
    fn a_deadline_is_told_once() {
        let handle = Handle::new(Seat {
            incarnation: 1,
            session: 2,
        });
        handle.set_due(Moment(500));
        handle.tick(Moment(499));
        assert!(!handle.take_marks().any());
        handle.tick(Moment(500));
        handle.tick(Moment(501));
        assert!(handle.take_marks().has(Mark::Tick));
        assert!(!handle.take_marks().any());
    }

    /// An idle channel's handle stays small: there are hundreds of thousands.
    #[test]
    fn a_handle_is_small() {
        assert!(size_of::<Handle>() <= 112, "{}", size_of::<Handle>());
    }
}

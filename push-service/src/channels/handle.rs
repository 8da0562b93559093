//! What the rest of the process holds of a channel: a small inbox, and a way to wake it.
//!
//! Guarantees: telling a channel something never waits and never takes more memory than the inbox's bound; what doesn't
//! fit turns into a mark that says "read again", so nothing is lost, only found in storage instead (PR-11).

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use push_protocol::MessageNumber;
use push_protocol::session::{Action, CloseReason, Moment, Session, WakeUp};

use crate::defaults::{INBOX_MESSAGES, SHARE_WITHIN};
use crate::storage::Seat;

/// Things that a channel is told beside wake-ups. Each is idempotent: told twice before it looks, it sees it once.
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

/// The marks that were set since the channel looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marks(u8);

impl Marks {
    pub(super) fn has(self, mark: Mark) -> bool {
        self.0 & mark as u8 != 0
    }

    pub(super) fn any(self) -> bool {
        self.0 != 0
    }

    /// Tells a channel's session what they say. `drains`: the node leaves, and nothing has to be answered first;
    /// `is_in_the_way` is asked at a deadline: others wait for what the channel keeps.
    pub(super) fn tell(
        self,
        session: &mut Session,
        drains: bool,
        is_in_the_way: impl FnOnce() -> bool,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if self.has(Mark::Tick) {
            session.tick(now, out);
            if is_in_the_way() {
                session.give_way(SHARE_WITHIN, now, out);
            }
        }
        if self.has(Mark::Displaced) {
            session.close(CloseReason::Displaced, out);
        }
        if self.has(Mark::Stop) {
            session.close(CloseReason::ServiceRestart, out);
        }
        if drains {
            session.drain(now, out);
        }
        if self.has(Mark::ReadAgain) {
            session.read_again(now, out);
        }
    }
}

/// In place of a cursor: the session holds no seat that storage could know of. No message has that number.
const NO_SEAT: u64 = u64::MAX;

/// A channel, as the registry knows it.
pub(super) struct Handle {
    seat: Seat,
    marks: AtomicU8,
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
        let mut inbox = self.inbox.lock().expect("nothing panics while it holds an inbox");
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
        // The common case is none, and a load is cheaper than a swap.
        if self.marks.load(Ordering::Acquire) == 0 {
            return Marks(0);
        }
        Marks(self.marks.swap(0, Ordering::AcqRel))
    }

    /// Everything told so far. Leaves an inbox without capacity.
    pub(super) fn take_wake_ups(&self) -> VecDeque<WakeUp> {
        std::mem::take(&mut *self.inbox.lock().expect("nothing panics while it holds an inbox"))
    }

    pub(super) fn set_due(&self, due: Moment) {
        self.due.store(due.0, Ordering::Relaxed);
    }

    /// How far the channel's session has come, or that it holds no seat: what storage is compared with, so that an idle
    /// session needn't be woken to be asked (PR-14).
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

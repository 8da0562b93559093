//! The clock of storage, and one that tests move.
//!
//! Only storage decides whether something has expired (PR-30). Its time comes from here, in microseconds since 1970. It never
//! moves backwards and never stops: while the machine's wall clock is behind, `Forward` advances by the monotonic clock. And it
//! does not leap: a wall clock that is suddenly far ahead is not followed before it has stayed there for a while (PR-29).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::defaults::{CLOCK_STEP_BELIEVED, CLOCK_STEP_DOUBTED_FOR};

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: microseconds since 1970. May jump in either direction.
    fn now_us(&self) -> u64;

    /// The monotonic clock: microseconds since some moment of this process. Neither jumps nor moves backwards.
    fn monotonic_us(&self) -> u64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        micros(since_1970)
    }

    fn monotonic_us(&self) -> u64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        micros(START.elapsed())
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    wall_us: AtomicU64,
    monotonic_us: AtomicU64,
}

impl ManualClock {
    /// Stands at this many microseconds since 1970.
    pub fn new(now_us: u64) -> Self {
        Self {
            wall_us: AtomicU64::new(now_us),
            monotonic_us: AtomicU64::new(0),
        }
    }

    /// Lets time pass: both clocks move forward.
    pub fn advance(&self, by: Duration) {
        self.wall_us.fetch_add(micros(by), Ordering::SeqCst);
        self.monotonic_us.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Steps the wall clock alone, anywhere, also back.
    pub fn step_wall_to(&self, now_us: u64) {
        self.wall_us.store(now_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> u64 {
        self.wall_us.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst)
    }
}

/// Milliseconds, the unit of expiries. One too long to count is for ever.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Time that moves only forward, whatever the wall clock does.
///
/// ```text
///                  wall clock behind               far ahead
///   by elapsed time ◄───────────── by the wall clock ─────────────► doubting it: by elapsed time
///         │ caught up                 ▲  ▲   ▲ back again                    │      │
///         └───────────────────────────┘  │   └───────────────────────────────┘      │
///                                        └──────────── still ahead after a minute ──┘
/// ```
///
/// It follows the wall clock, but goes on by the monotonic clock while the wall clock is behind, be it after a step back
/// or after a start whose `not_before_us` it has not reached: buckets refill and TTLs run as ever (PR-24, PR-30). A step
/// forward of more than `CLOCK_STEP_BELIEVED` is followed only when it has lasted for `CLOCK_STEP_DOUBTED_FOR`, because
/// subscriptions that it would end (PR-29) do not come back with the right time. At a start there is nothing to compare the
/// wall clock with, so it is believed.
pub(super) struct Forward {
    source: Arc<dyn Clock>,
    last: Mutex<LastTime>,
}

/// The time that was returned last.
struct LastTime {
    us: u64,
    /// The monotonic clock at that moment.
    monotonic_us: u64,
    /// Since when, by the monotonic clock, the wall clock has been too far ahead to be believed.
    doubted_since_us: Option<u64>,
}

impl Forward {
    /// Starts at `not_before_us`, or at the wall clock's time if that is later.
    pub(super) fn new(source: Arc<dyn Clock>, not_before_us: u64) -> Self {
        let last = LastTime {
            us: source.now_us().max(not_before_us),
            monotonic_us: source.monotonic_us(),
            doubted_since_us: None,
        };
        Self {
            source,
            last: Mutex::new(last),
        }
    }

    /// The time of a step.
    pub(super) fn now(&self) -> Now {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.advance(self.source.now_us(), self.source.monotonic_us());
        Now { us: last.us }
    }
}

impl LastTime {
    fn advance(&mut self, wall_us: u64, monotonic_us: u64) {
        let passed_us = monotonic_us.saturating_sub(self.monotonic_us);
        self.monotonic_us = monotonic_us;
        self.us = self.us.saturating_add(passed_us);
        let ahead_us = wall_us.saturating_sub(self.us);
        if ahead_us > micros(CLOCK_STEP_BELIEVED) {
            let since_us = *self.doubted_since_us.get_or_insert(monotonic_us);
            if monotonic_us.saturating_sub(since_us) < micros(CLOCK_STEP_DOUBTED_FOR) {
                return;
            }
        }
        self.doubted_since_us = None;
        self.us += ahead_us;
    }
}

/// The time at which a step is decided.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Now {
    /// Microseconds since 1970.
    pub(super) us: u64,
}

impl Now {
    /// Milliseconds since 1970.
    pub(super) fn ms(self) -> u64 {
        self.us / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;
    const START_US: u64 = 1_700_000_000 * SECOND_US;

    fn starting_at(not_before_us: u64) -> (Arc<ManualClock>, Forward) {
        let machine = Arc::new(ManualClock::new(START_US));
        let clock = Forward::new(Arc::clone(&machine) as Arc<dyn Clock>, not_before_us);
        (machine, clock)
    }

    /// PR-30: while the wall clock is behind, time goes on as it passes; when it has caught up, it is followed again.
    #[test]
    fn a_step_back_neither_turns_nor_stops_time() {
        let (machine, clock) = starting_at(0);
        assert_eq!(clock.now().us, START_US);
        machine.step_wall_to(START_US - 3_600 * SECOND_US);
        assert_eq!(clock.now().us, START_US);
        machine.advance(Duration::from_secs(10));
        assert_eq!(clock.now().us, START_US + 10 * SECOND_US);
        machine.step_wall_to(START_US + 25 * SECOND_US);
        assert_eq!(clock.now().us, START_US + 25 * SECOND_US);
    }

    /// PR-30: a start whose mark the wall clock has not reached goes on from the mark.
    #[test]
    fn a_mark_ahead_of_the_wall_clock_is_gone_on_from() {
        let mark_us = START_US + 7_200 * SECOND_US;
        let (machine, clock) = starting_at(mark_us);
        assert_eq!(clock.now().us, mark_us);
        machine.advance(Duration::from_secs(5));
        assert_eq!(clock.now().us, mark_us + 5 * SECOND_US);
    }

    /// PR-29: a wall clock that is far ahead is not followed before it has been so for a while.
    #[test]
    fn a_leap_is_followed_only_when_it_lasts() {
        let (machine, clock) = starting_at(0);
        let leap_us = 401 * 86_400 * SECOND_US;
        machine.step_wall_to(START_US + leap_us);
        assert_eq!(clock.now().us, START_US);
        machine.advance(CLOCK_STEP_DOUBTED_FOR / 2);
        assert_eq!(clock.now().us, START_US + micros(CLOCK_STEP_DOUBTED_FOR / 2));

        machine.step_wall_to(START_US);
        let before_us = clock.now().us;
        machine.step_wall_to(START_US + leap_us);
        machine.advance(CLOCK_STEP_DOUBTED_FOR);
        assert_eq!(
            clock.now().us,
            before_us + micros(CLOCK_STEP_DOUBTED_FOR),
            "doubted anew"
        );
        machine.advance(CLOCK_STEP_DOUBTED_FOR);
        assert_eq!(clock.now().us, machine.now_us());
    }

    /// PR-30: a step forward that a clock's correction may well take is followed at once.
    #[test]
    fn a_small_step_is_followed_at_once() {
        let (machine, clock) = starting_at(0);
        machine.step_wall_to(START_US + micros(CLOCK_STEP_BELIEVED));
        assert_eq!(clock.now().us, machine.now_us());
    }
}

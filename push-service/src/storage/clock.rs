//! What time it is for storage, and how tests move it.
//!
//! Storage alone judges expiry (PR-30). Its time comes from here, in microseconds since 1970, and never moves
//! backwards: `Forward` holds it where it was until the machine's clock has caught up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970. May jump in either direction.
    fn now_us(&self) -> u64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Stands at this many microseconds since 1970.
    pub fn new(now_us: u64) -> Self {
        Self(AtomicU64::new(now_us))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let by_us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_add(by_us, Ordering::SeqCst);
    }

    /// Puts it anywhere, also back.
    pub fn set(&self, now_us: u64) {
        self.0.store(now_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Time that only moves forward, whatever its source does.
pub(super) struct Forward {
    source: std::sync::Arc<dyn Clock>,
    highest_us: AtomicU64,
}

impl Forward {
    /// Starts at `not_before_us`, or at the source's time if that is later.
    pub(super) fn new(source: std::sync::Arc<dyn Clock>, not_before_us: u64) -> Self {
        Self {
            source,
            highest_us: AtomicU64::new(not_before_us),
        }
    }

    /// The time of a step.
    pub(super) fn now(&self) -> Now {
        let source_us = self.source.now_us();
        let before_us = self.highest_us.fetch_max(source_us, Ordering::Relaxed);
        Now {
            us: before_us.max(source_us),
        }
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
    use std::sync::Arc;

    use super::*;

    /// PR-30: storage's time stands still while the machine's clock is set back, and goes on when it has caught up.
    #[test]
    fn time_never_moves_backwards() {
        let machine = Arc::new(ManualClock::new(1_000));
        let clock = Forward::new(Arc::clone(&machine) as Arc<dyn Clock>, 500);
        assert_eq!(clock.now().us, 1_000);
        machine.set(10);
        assert_eq!(clock.now().us, 1_000);
        machine.set(1_001);
        assert_eq!(clock.now().us, 1_001);
        assert_eq!(Forward::new(machine, 2_000).now().us, 2_000);
    }
}

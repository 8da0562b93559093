//! A line of the log that peers can cause, at a bounded rate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one line through, and then none for a while.
#[derive(Debug)]
pub(crate) struct Seldom {
    every: Duration,
    last: Mutex<Last>,
}

#[derive(Default, Debug)]
struct Last {
    at: Option<Instant>,
    /// How many lines were left out since then.
    skipped: u64,
}

impl Seldom {
    pub(crate) fn every(every: Duration) -> Self {
        Self {
            every,
            last: Mutex::default(),
        }
    }

    /// Whether the line is written now; if so, how often it was not written since the last time.
    pub(crate) fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < self.every)
        {
            last.skipped += 1;
            return None;
        }
        last.at = Some(now);
        Some(std::mem::take(&mut last.skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first line is written at once, the next after the time is over, and it says how many were left out.
    #[test]
    fn a_line_is_written_seldom() {
        let minute = Duration::from_secs(60);
        let (seldom, start) = (Seldom::every(minute), Instant::now());
        assert_eq!(seldom.due_at(start), Some(0));
        assert_eq!(seldom.due_at(start), None);
        assert_eq!(seldom.due_at(start + minute / 2), None);
        assert_eq!(seldom.due_at(start + minute), Some(2));
        assert_eq!(seldom.due_at(start + minute), None);
    }
}

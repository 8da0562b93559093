//! Limits lines that others can cause: a service, a sender, a command that fails.
//!
//! Of each kind a few lines are printed in a period. The others are counted, and the count is printed at the end of the period. So a flood of bad messages
//! fills no disk, and the first of them are still told in full.

use std::num::NonZeroU64;

use tokio::time::Instant;

use crate::defaults::{LINES, LINES_WITHIN};

/// Lines of one kind.
///
/// Its owner calls [`left_out`](Self::left_out) when it is [due](Self::due), and says the count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limited {
    /// When the first line of the current period was printed.
    since: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Limited {
    /// Whether one more line may be printed; if not, it is counted.
    pub fn allows(&mut self, now: Instant) -> bool {
        let is_over = self.since.is_none_or(|since| since + LINES_WITHIN <= now);
        if is_over && self.left_out == 0 {
            self.since = Some(now);
            self.said = 0;
        }
        let allows = self.said < LINES;
        if allows {
            self.said += 1;
        } else {
            self.left_out += 1;
        }
        allows
    }

    /// When the count of the omitted lines is to be printed, if there are any.
    pub fn due(&self) -> Option<Instant> {
        self.since
            .filter(|_| self.left_out > 0)
            .map(|since| since + LINES_WITHIN)
    }

    /// How many lines were omitted, if it is time to print the count.
    pub fn left_out(&mut self, now: Instant) -> Option<NonZeroU64> {
        if self.due().is_some_and(|due| due <= now) {
            self.rest()
        } else {
            None
        }
    }

    /// How many lines were omitted, at the end.
    pub fn rest(&mut self) -> Option<NonZeroU64> {
        let left_out = NonZeroU64::new(std::mem::take(&mut self.left_out));
        if left_out.is_some() {
            // The next ones are told in full again.
            self.since = None;
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// PR-42: a flood of 30,000 lines in a minute is a few dozen, every one of them is counted, and what comes after a calm is
    /// said at once.
    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted() {
        let mut lines = Limited::default();
        let (mut said, mut counts, mut counted) = (0, 0, 0);
        for _ in 0..30_000 {
            said += u64::from(lines.allows(Instant::now()));
            if let Some(left_out) = lines.left_out(Instant::now()) {
                counts += 1;
                counted += left_out.get();
            }
            tokio::time::advance(Duration::from_millis(2)).await;
        }
        counted += lines.rest().map_or(0, NonZeroU64::get);
        assert_eq!(said + counted, 30_000);
        assert!(said <= 6 * u64::from(LINES) + u64::from(LINES), "{said}");
        assert!(counts <= 6, "{counts}");
        assert_eq!((lines.due(), lines.rest()), (None, None));
        assert!(lines.allows(Instant::now()));
    }

    /// PR-42: the count is due when the time is over, and not before; few lines have none.
    #[tokio::test(start_paused = true)]
    async fn the_count_is_due_once() {
        let mut lines = Limited::default();
        let begin = Instant::now();
        for _ in 0..LINES {
            assert!(lines.allows(begin));
        }
        assert_eq!(
            (lines.due(), lines.left_out(begin + 2 * LINES_WITHIN)),
            (None, None)
        );
        assert!(!lines.allows(begin));
        assert_eq!(lines.due(), Some(begin + LINES_WITHIN));
        assert_eq!(
            lines.left_out(begin + LINES_WITHIN - Duration::from_millis(1)),
            None
        );
        assert_eq!(lines.left_out(begin + LINES_WITHIN), NonZeroU64::new(1));
        assert_eq!(lines.left_out(begin + LINES_WITHIN), None);
    }
}

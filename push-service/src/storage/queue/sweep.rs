//! What time takes away, in bounded steps: expired messages, messages of ended subscriptions, abandoned records.

use push_protocol::ReceiptOutcome;

use super::{Changes, Now, Step, SweepMove, UserAgent};
use crate::storage::{Retention, Swept};

impl UserAgent {
    /// Drops at most `limit` messages that are due, and then the record if it's abandoned.
    ///
    /// Afterwards the sweep entry stands exactly where the next thing is due: in the past if that was not all.
    pub(in crate::storage) fn sweep(&mut self, limit: usize, retention: Retention, now: Now) -> Step<Swept> {
        let was_recorded = self.recorded;
        let mut changes = self.begin(now);
        let is_over = self.seat.is_some() && self.retained_until_ms <= now.ms();
        if is_over
            || self
                .held_counts_from_ms()
                .is_some_and(|from_ms| from_ms <= now.ms())
        {
            // A record whose seat is held for so long is not abandoned.
            self.renew_as_used(retention, now, &mut changes);
        }
        let freed = self.free(limit, &mut changes, now);

        let mut expired = Vec::new();
        for number in self.waiting.expired(now.ms()).into_iter().take(limit - freed) {
            let taken = self.take_out(number, ReceiptOutcome::GivenUp, &mut changes, now);
            expired.extend(taken.map(|w| w.id));
        }
        let swept = Swept {
            expired: expired.len(),
            freed,
        };
        // Of those just dropped the index still believes that they are due.
        self.waiting.expired(now.ms());
        self.tell_removed(expired, &mut changes);

        let mut step = self.finish(swept, changes, now);
        if self.recorded {
            let due_ms = self.due_ms(now);
            let entry_moved = step.changes.sweep.take();
            self.sweep_at_ms = entry_moved.map_or(self.sweep_at_ms, |moved| moved.from_ms);
            self.move_sweep(Some(due_ms), &mut step.changes);
        }
        step.outcome.freed += usize::from(was_recorded && !self.recorded);
        step
    }

    /// Lets go of what ended subscriptions left and of what passed by, and says how much that was.
    pub(super) fn free(&mut self, limit: usize, changes: &mut Changes, now: Now) -> usize {
        let left_over = self.ended.len().min(limit);
        for number in self.ended.drain(..left_over).collect::<Vec<_>>() {
            self.part_with(number, ReceiptOutcome::GivenUp, changes);
        }
        let mut freed = left_over;
        for passing in self.ledger.passed(limit - freed, |p| p.until_ms <= now.ms()) {
            self.put_out(&passing, ReceiptOutcome::GivenUp, changes);
            freed += 1;
        }
        let forsaken = self.ledger.free(limit - freed);
        freed += forsaken.len();
        if !forsaken.is_empty() {
            changes.books().forgotten.extend(forsaken);
        }
        freed
    }

    /// An entry of the sweep index that is not this user agent's one: gone, and nothing else.
    pub(in crate::storage) fn disown_sweep(&self, entry_ms: u64) -> Step<Swept> {
        let sweep = Some(SweepMove {
            from_ms: Some(entry_ms),
            to_ms: None,
        });
        Step {
            outcome: Swept::default(),
            changes: Changes {
                sweep,
                ..Changes::default()
            },
        }
    }
}

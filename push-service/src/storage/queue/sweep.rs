//! Sweeps remove what is over, in bounded steps: expired messages, messages of ended subscriptions, abandoned records.

use push_protocol::ReceiptOutcome;

use super::{Changes, Leaving, Now, Step, SweepMove, UserAgent};
use crate::storage::{RemovalReason, Retention, Swept};

impl UserAgent {
    /// Removes at most `limit` messages that are due, and the record if it is abandoned.
    ///
    /// Afterwards the sweep entry has the time at which the next thing is due: a past time if that was not all.
    pub(in crate::storage) fn sweep(&mut self, limit: usize, retention: Retention, now: Now) -> Step<Swept> {
        let was_recorded = self.recorded;
        let mut changes = self.begin(now);
        let is_held = self.seat.is_some() && self.retained_until_ms <= now.ms();
        let is_used_by_seat = self.used_by_seat_at_ms().is_some_and(|at_ms| at_ms <= now.ms());
        if is_held || is_used_by_seat {
            // A record whose seat is held for so long is not abandoned.
            self.renew_as_used(retention, now, &mut changes);
        }
        let freed = self.free(limit, &mut changes, now);

        let mut expired = Vec::new();
        for number in self.waiting.expired(now.ms()).into_iter().take(limit - freed) {
            let how = Leaving::Removed(RemovalReason::Expired);
            let taken = self.take_out(number, how, &mut changes, now);
            expired.extend(taken.map(|w| w.id));
        }
        let swept = Swept {
            expired: expired.len(),
            freed,
        };
        // The index still has the expiry of the messages that were just removed: let it look again.
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

    /// Frees what ended subscriptions left, and remembered messages with TTL 0 whose time is over: at most `limit`. Returns
    /// how many.
    pub(super) fn free(&mut self, limit: usize, changes: &mut Changes, now: Now) -> usize {
        let left_over = self.to_free.len().min(limit);
        for number in self.to_free.drain(..left_over).collect::<Vec<_>>() {
            self.end_message(number, ReceiptOutcome::GivenUp, changes);
        }
        let mut freed = left_over;
        for passing in self
            .receipt_state
            .take_passing(limit - freed, |p| p.until_ms <= now.ms())
        {
            self.end_passing(&passing, ReceiptOutcome::GivenUp, changes);
            freed += 1;
        }
        let orphaned = self.receipt_state.take_orphaned(limit - freed);
        freed += orphaned.len();
        if !orphaned.is_empty() {
            changes.receipts_mut().forgotten.extend(orphaned);
        }
        freed
    }

    /// Removes an entry of the sweep index that is not this user agent's current one.
    pub(in crate::storage) fn remove_stale_sweep(&self, entry_ms: u64) -> Step<Swept> {
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

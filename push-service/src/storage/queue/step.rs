//! What begins and ends every step on a user agent, and what a step hands back.
//!
//! A step calls [`UserAgent::begin`] first and [`UserAgent::finish`] last. `begin` ends the subscriptions of a record whose
//! retention is over, so no step sees an abandoned record. `finish` decides whether the record still exists and when the
//! user agent is to be swept next.
//!
//! **Invariant:** the changes of a user agent's steps, applied in the order of the steps, are its state.
//! **Invariant:** after each step, [`UserAgent::sweep_at_ms`] is not later than the next moment at which something is due.

use push_protocol::MessageNumber;

use super::index::IndexEntry;
use super::receipt_state::{Expectation, OutboxEntry, PassingMessage};
use super::{Now, Stored, UserAgent, millis};
use crate::defaults::{EMPTY_RECORD_LOOK, SEAT_HELD_IS_USE};
use crate::storage::reports::UsageChange;
use crate::storage::senders::SenderChanges;
use crate::storage::{RemovedMessage, Seat, WakeUp};

/// What a step decided.
#[derive(Debug)]
pub(in crate::storage) struct Step<T> {
    /// The answer.
    pub(in crate::storage) outcome: T,
    pub(in crate::storage) changes: Changes,
}

/// What a step changed. Empty if nothing has to be written and no session has to be told.
#[derive(Default, Debug)]
pub(in crate::storage) struct Changes {
    /// The record is to be written as it stands now, or deleted if [`UserAgent::recorded`] is false now.
    pub(in crate::storage) record: bool,
    /// This message joined the queue.
    pub(in crate::storage) stored: Option<Stored>,
    /// These messages, or entries of the outbox, are removed.
    pub(in crate::storage) removed: Vec<MessageNumber>,
    /// The entry in the sweep index moves.
    pub(in crate::storage) sweep: Option<SweepMove>,
    /// How the gauges change.
    pub(in crate::storage) usage: UsageChange,
    /// How the sums of senders change.
    pub(in crate::storage) senders: SenderChanges,
    /// What the holder of the seat is told, before the changes are durable.
    pub(in crate::storage) wake_ups: Vec<(Seat, WakeUp)>,
    /// These messages left the queue without an acknowledgement.
    pub(in crate::storage) left: Vec<RemovedMessage>,
    /// How the receipt state changes. Most steps leave it alone.
    pub(in crate::storage) receipts: Option<Box<ReceiptChanges>>,
}

/// How a step changed the receipt state.
#[derive(Default, Debug)]
pub(in crate::storage) struct ReceiptChanges {
    /// These entries joined the outbox, each under the number of its message or under a receipt number.
    pub(in crate::storage) outbox: Vec<(MessageNumber, OutboxEntry)>,
    /// This message with TTL 0 is remembered, under a receipt number.
    pub(in crate::storage) passing: Option<PassingMessage>,
    /// From now on this user agent is, or is not, listed among those that have an outbox.
    pub(in crate::storage) listed: Option<bool>,
    /// This receipt is expected, and is to be found again by its deadline.
    pub(in crate::storage) expected: Option<Expectation>,
    /// These receipts are expected no more.
    pub(in crate::storage) forgotten: Vec<Expectation>,
    /// These receipts joined the queue.
    pub(in crate::storage) joined: Vec<Stored>,
    /// The session that reads on when all of it is durable, and not before.
    pub(in crate::storage) read_again: Option<Seat>,
}

/// A move of the entry in the sweep index. `None`: without an entry, before or after the move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct SweepMove {
    pub(in crate::storage) from_ms: Option<u64>,
    pub(in crate::storage) to_ms: Option<u64>,
}

impl Changes {
    /// Whether there is something to be made durable.
    pub(in crate::storage) fn must_be_written(&self) -> bool {
        self.record
            || self.stored.is_some()
            || !self.removed.is_empty()
            || self.sweep.is_some()
            || self.receipts.is_some()
    }

    /// Whether something joined the outbox.
    pub(in crate::storage) fn fills_outbox(&self) -> bool {
        self.receipts
            .as_ref()
            .is_some_and(|receipts| !receipts.outbox.is_empty())
    }

    pub(super) fn receipts_mut(&mut self) -> &mut ReceiptChanges {
        self.receipts.get_or_insert_default()
    }

    /// A message joined the queue.
    pub(super) fn add_to_gauges(&mut self, waiting: &IndexEntry) {
        let bytes = waiting.counted_bytes().cast_signed();
        self.usage.messages += 1;
        self.usage.bytes += bytes;
        self.senders.add(waiting.sender, bytes);
    }

    /// A message left the queue.
    pub(super) fn subtract_from_gauges(&mut self, waiting: &IndexEntry) {
        let bytes = waiting.counted_bytes().cast_signed();
        self.usage.messages -= 1;
        self.usage.bytes -= bytes;
        self.senders.add(waiting.sender, -bytes);
    }
}

impl UserAgent {
    /// Begins a step. The subscriptions of a record whose retention is over end here, whether it was swept or not (PR-29).
    pub(super) fn begin(&mut self, now: Now) -> Changes {
        let mut changes = Changes::default();
        if !self.is_known(now) {
            self.end_subscriptions(&mut changes);
        }
        changes
    }

    /// Ends a step: decides whether there is still a record, and when this user agent is to be swept next.
    pub(super) fn finish<T>(&mut self, outcome: T, mut changes: Changes, now: Now) -> Step<T> {
        if let Some(listed) = self.receipt_state.finish_step() {
            changes.receipts_mut().listed = Some(listed);
        }
        let keep = !self.subscriptions.is_empty()
            || self.seat.is_some()
            || !self.to_free.is_empty()
            || !self.receipt_state.is_empty();
        if keep != self.recorded {
            self.recorded = keep;
            changes.usage.user_agents += if keep { 1 } else { -1 };
            changes.record = true;
        }
        let due_ms = keep.then(|| self.due_ms(now));
        let is_too_late = match (self.sweep_at_ms, due_ms) {
            (Some(entry_ms), Some(due_ms)) => due_ms < entry_ms,
            (entry_ms, due_ms) => entry_ms != due_ms,
        };
        if is_too_late {
            self.move_sweep(due_ms, &mut changes);
        }
        if !keep {
            // Unknown again: nothing of the old record may be found by a later step.
            *self = Self::default();
        }
        Step { outcome, changes }
    }

    /// The next moment at which something here is due.
    pub(super) fn due_ms(&self, now: Now) -> u64 {
        if !self.to_free.is_empty() || self.receipt_state.has_orphaned() {
            return now.ms();
        }
        let passing_ms = self.receipt_state.passing().iter().map(|p| p.until_ms);
        let passing_ms = passing_ms.min().unwrap_or(u64::MAX);
        if self.subscriptions.is_empty() {
            // Only its seat keeps the record, which a restart forgets; or its outbox.
            return passing_ms.min(now.ms().saturating_add(millis(EMPTY_RECORD_LOOK)));
        }
        let expiry_ms = self.waiting.earliest_expiry_ms().unwrap_or(u64::MAX);
        // Not in the past, where sweeps do not look far: a session may take the free seat of an old unused record by a page.
        let used_ms = self
            .used_by_seat_at_ms()
            .map_or(u64::MAX, |from_ms| from_ms.max(now.ms()));
        expiry_ms.min(passing_ms).min(used_ms).min(self.retained_until_ms)
    }

    /// When holding the seat makes an unused record a used one: [`SEAT_HELD_IS_USE`] after its first subscription was made,
    /// because the step that makes a record takes the seat. `None` if the record is used, or no session holds the seat.
    pub(super) fn used_by_seat_at_ms(&self) -> Option<u64> {
        self.seat.filter(|_| self.unused)?;
        let made_secs = self.subscriptions.iter().map(|s| s.created_at_secs).min()?;
        Some(
            made_secs
                .saturating_mul(1_000)
                .saturating_add(millis(SEAT_HELD_IS_USE)),
        )
    }

    pub(super) fn move_sweep(&mut self, to_ms: Option<u64>, changes: &mut Changes) {
        let from_ms = std::mem::replace(&mut self.sweep_at_ms, to_ms);
        if from_ms != to_ms {
            changes.sweep = Some(SweepMove { from_ms, to_ms });
            changes.record = true;
        }
    }
}

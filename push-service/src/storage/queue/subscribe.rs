//! Subscriptions begin, seats are taken and given up, records are retained or abandoned.

use std::time::Duration;

use push_protocol::MessageNumber;

use super::{Attaches, Changes, Now, PickedPage, Share, Step, Subscription, SweepMove, UserAgent, millis};
use crate::defaults::{
    ATTACHES_PER_MINUTE, EMPTY_RECORD_LOOK, RECEIPT_SUBSCRIPTION_KEPT, RETENTION_GRAINS, SEAT_HELD_IS_USE,
};
use crate::storage::{Manner, PageRequest, RECEIPTS, Refreshed, Retention, Seat, Subscribe, Subscribed};

/// What came of an attach, before the bodies are read.
#[derive(Debug)]
pub(in crate::storage) enum Taken {
    Unknown,
    TooOften {
        retry_after: Duration,
    },
    Known {
        head: PickedPage,
        displaced: Option<Seat>,
    },
}

impl UserAgent {
    /// PR-9: a new name gets the fresh id, a known one keeps its own.
    pub(in crate::storage) fn subscribe(
        &mut self,
        request: &Subscribe,
        retention: Retention,
        now: Now,
    ) -> Step<Subscribed> {
        let mut changes = self.begin(now);
        let outcome = match self.subscriptions.iter().find(|s| s.name == request.name) {
            Some(known) => Subscribed::Kept(known.id),
            None if request.only_known && !self.is_known(now) => Subscribed::UnknownUserAgent,
            None if self.subscriptions.len() >= request.limit => Subscribed::TooMany,
            None => self.add_subscription(request, retention, now, &mut changes),
        };
        if matches!(outcome, Subscribed::Created(_) | Subscribed::Kept(_)) {
            self.renew(retention, now, &mut changes);
        }
        self.finish(outcome, changes, now)
    }

    fn add_subscription(
        &mut self,
        request: &Subscribe,
        retention: Retention,
        now: Now,
        changes: &mut Changes,
    ) -> Subscribed {
        if !self.is_known(now) {
            self.seat = request.seat;
            // A new record: its retention does not depend on the one before it.
            self.unused = retention.tells_unused();
            self.retained_until_ms = 0;
        }
        if request.fresh_id == RECEIPTS {
            // Its id is not fresh: what the one before it left must not be taken for its own.
            self.free(usize::MAX, changes, now);
        }
        let subscription = Subscription {
            id: request.fresh_id,
            name: request.name,
            created_at_secs: now.ms() / 1_000,
            key: request.key.map(Box::new),
            share: Share::default(),
            bucket: None,
        };
        let place = self.subscriptions.partition_point(|s| s.id < subscription.id);
        self.subscriptions.insert(place, subscription);
        changes.record = true;
        Subscribed::Created(request.fresh_id)
    }

    /// PR-10: takes the seat and reads the head of the queue in one step.
    pub(in crate::storage) fn attach(
        &mut self,
        seat: Seat,
        head: &PageRequest,
        manner: Manner,
        retention: Retention,
        now: Now,
    ) -> Step<Taken> {
        let mut changes = self.begin(now);
        if !self.is_known(now) {
            return self.finish(Taken::Unknown, changes, now);
        }
        if let Some(retry_after) = self.attaches.count(manner, now) {
            return self.finish(Taken::TooOften { retry_after }, changes, now);
        }
        let displaced = self.seat.replace(seat).filter(|before| *before != seat);
        self.renew_as_used(retention, now, &mut changes);
        let taken = Taken::Known {
            head: self.pick(head, now),
            displaced,
        };
        self.finish(taken, changes, now)
    }

    /// PR-14: whose the seat is, and how far the queue has come. Takes a free one.
    pub(in crate::storage) fn refresh(
        &mut self,
        seat: Seat,
        retention: Retention,
        now: Now,
    ) -> Step<Refreshed> {
        let mut changes = self.begin(now);
        let refreshed = match self.seat {
            _ if !self.is_known(now) => Refreshed::Unknown,
            Some(holder) if holder != seat => Refreshed::Displaced,
            _ => {
                self.seat = Some(seat);
                self.renew_as_used(retention, now, &mut changes);
                Refreshed::Held { last: self.last }
            }
        };
        self.finish(refreshed, changes, now)
    }

    /// Gives the seat up, if the caller holds it. A record without subscriptions goes with it (PR-12).
    pub(in crate::storage) fn release(&mut self, seat: Seat, now: Now) -> Step<()> {
        if self.seat == Some(seat) {
            self.seat = None;
        }
        let changes = self.begin(now);
        self.finish((), changes, now)
    }

    /// Whether there is nothing to know of it: nobody, as the store would say too.
    pub(in crate::storage) fn is_blank(&self) -> bool {
        !self.recorded && self.seat.is_none()
    }

    /// Every step begins with this: a record that was abandoned for longer than its retention is nobody's, swept or not.
    pub(super) fn begin(&mut self, now: Now) -> Changes {
        let mut changes = Changes::default();
        if !self.is_known(now) {
            self.end_subscriptions(&mut changes);
        }
        changes
    }

    /// PR-29: a push was accepted for it, or it came back. It is kept for the whole retention from now on.
    pub(super) fn renew_as_used(&mut self, retention: Retention, now: Now, changes: &mut Changes) {
        self.mark_used(changes);
        self.renew(retention, now, changes);
    }

    /// The record is a used one from now on.
    pub(super) fn mark_used(&mut self, changes: &mut Changes) {
        changes.record |= std::mem::take(&mut self.unused);
    }

    /// When the session that holds the seat of an unused record makes it a used one. Counted from the first subscription,
    /// because the step that makes a record takes the seat. `None` if the record is used or nobody holds the seat.
    pub(super) fn held_counts_from_ms(&self) -> Option<u64> {
        self.seat.filter(|_| self.unused)?;
        let made_secs = self.subscriptions.iter().map(|s| s.created_at_secs).min()?;
        Some(
            made_secs
                .saturating_mul(1_000)
                .saturating_add(millis(SEAT_HELD_IS_USE)),
        )
    }

    /// PR-29. A receipt subscription is no user agent's, and not kept as long as those.
    pub(super) fn renew(&mut self, retention: Retention, now: Now, changes: &mut Changes) {
        let kept = match self.subscription(RECEIPTS) {
            Some(_) => retention.of(self.unused).min(RECEIPT_SUBSCRIPTION_KEPT),
            None => retention.of(self.unused),
        };
        self.retain(kept, now, changes);
    }

    /// Moves the retention's end in grains, so that a user agent that comes back every minute is not rewritten every minute:
    /// it lasts for at least so long, and at most one grain longer.
    pub(super) fn retain(&mut self, kept: Duration, now: Now, changes: &mut Changes) {
        let kept_ms = millis(kept);
        let least_ms = now.ms().saturating_add(kept_ms);
        if self.retained_until_ms < least_ms {
            self.retained_until_ms = least_ms.saturating_add(kept_ms / RETENTION_GRAINS);
            changes.record = true;
        }
    }

    /// Every step ends with this: is there still a record, and when is it to be looked at again?
    pub(super) fn finish<T>(&mut self, outcome: T, mut changes: Changes, now: Now) -> Step<T> {
        if let Some(listed) = self.ledger.settle_down() {
            changes.books().listed = Some(listed);
        }
        let keep = !self.subscriptions.is_empty()
            || self.seat.is_some()
            || !self.ended.is_empty()
            || !self.ledger.is_empty();
        if keep != self.recorded {
            self.recorded = keep;
            changes.usage.user_agents += if keep { 1 } else { -1 };
            changes.record = true;
        }
        let due_ms = keep.then(|| self.due_ms(now));
        let too_late = match (self.sweep_at_ms, due_ms) {
            (Some(entry_ms), Some(due_ms)) => due_ms < entry_ms,
            (entry_ms, due_ms) => entry_ms != due_ms,
        };
        if too_late {
            self.move_sweep(due_ms, &mut changes);
        }
        if !keep {
            // Nobody again, with nothing left over from whoever it was.
            *self = Self::default();
        }
        Step { outcome, changes }
    }

    /// The next moment at which something here is due.
    pub(super) fn due_ms(&self, now: Now) -> u64 {
        if !self.ended.is_empty() || self.ledger.has_forsaken() {
            return now.ms();
        }
        let passing_ms = self.ledger.passing().iter().map(|p| p.until_ms);
        let passed_ms = passing_ms.min().unwrap_or(u64::MAX);
        if self.subscriptions.is_empty() {
            // Only its seat keeps it, and a restart takes the seat without asking; or its outbox.
            return passed_ms.min(now.ms().saturating_add(millis(EMPTY_RECORD_LOOK)));
        }
        let expiry_ms = self.waiting.earliest_expiry_ms().unwrap_or(u64::MAX);
        // Not in the past, where sweeps do not look far: a session may take the free seat of an old unused record by a page.
        let stays_ms = self
            .held_counts_from_ms()
            .map_or(u64::MAX, |from_ms| from_ms.max(now.ms()));
        expiry_ms.min(passed_ms).min(stays_ms).min(self.retained_until_ms)
    }

    pub(super) fn move_sweep(&mut self, to_ms: Option<u64>, changes: &mut Changes) {
        let from_ms = std::mem::replace(&mut self.sweep_at_ms, to_ms);
        if from_ms != to_ms {
            changes.sweep = Some(SweepMove { from_ms, to_ms });
            changes.record = true;
        }
    }

    /// The number of the next message: above every number before, and about the time (PR-7).
    pub(super) fn next_number(&self, now: Now) -> MessageNumber {
        MessageNumber((self.last.0 + 1).max(now.us))
    }
}

impl Attaches {
    /// Counts one, or says when the minute in which there were enough is over (PR-15).
    fn count(&mut self, manner: Manner, now: Now) -> Option<Duration> {
        let minute_ms = 60_000;
        let ends_ms = self.since_ms + minute_ms;
        if ends_ms <= now.ms() {
            *self = Self {
                since_ms: now.ms(),
                count: 1,
            };
            return None;
        }
        if self.count >= ATTACHES_PER_MINUTE && manner == Manner::Asking {
            return Some(Duration::from_millis(ends_ms - now.ms()));
        }
        self.count = self.count.saturating_add(1);
        None
    }
}

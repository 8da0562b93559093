//! Subscriptions are made, seats are taken and given up, and the retention of records is renewed.

use std::time::Duration;

use push_protocol::MessageNumber;

use super::{Attaches, Changes, Now, PickedPage, Share, Step, Subscription, UserAgent, millis};
use crate::defaults::{ATTACHES_PER_MINUTE, RECEIPT_SUBSCRIPTION_KEPT, RETENTION_GRAINS};
use crate::storage::{Manner, PageRequest, RECEIPTS, Refreshed, Retention, Seat, Subscribe, Subscribed};

/// The answer to an attach, before the bodies are read.
#[derive(Debug)]
pub(in crate::storage) enum AttachDecision {
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
            self.unused = retention.distinguishes_unused();
            self.retained_until_ms = 0;
        }
        if request.fresh_id == RECEIPTS {
            // Its id is always the same: what an earlier one left must not be taken for its own.
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
        self.insert_subscription(subscription);
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
    ) -> Step<AttachDecision> {
        let mut changes = self.begin(now);
        if !self.is_known(now) {
            return self.finish(AttachDecision::Unknown, changes, now);
        }
        if let Some(retry_after) = self.attaches.count(manner, now) {
            return self.finish(AttachDecision::TooOften { retry_after }, changes, now);
        }
        let displaced = self.seat.replace(seat).filter(|before| *before != seat);
        self.renew_as_used(retention, now, &mut changes);
        let decision = AttachDecision::Known {
            head: self.pick(head, now),
            displaced,
        };
        self.finish(decision, changes, now)
    }

    /// PR-14: compares the seat, and returns the last number of the queue. Takes a free seat.
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

    /// Gives the seat up, if the caller holds it. A record without subscriptions ends with that (PR-12).
    pub(in crate::storage) fn release(&mut self, seat: Seat, now: Now) -> Step<()> {
        if self.seat == Some(seat) {
            self.seat = None;
        }
        let changes = self.begin(now);
        self.finish((), changes, now)
    }

    /// Whether nothing is known of it, in memory and in the store.
    pub(in crate::storage) fn is_blank(&self) -> bool {
        !self.recorded && self.seat.is_none()
    }

    /// PR-29: a push was accepted for the user agent, or it came back. Its record is kept for the whole retention from now on.
    pub(super) fn renew_as_used(&mut self, retention: Retention, now: Now, changes: &mut Changes) {
        self.mark_used(changes);
        self.renew(retention, now, changes);
    }

    /// The record is a used one from now on.
    pub(super) fn mark_used(&mut self, changes: &mut Changes) {
        changes.record |= std::mem::take(&mut self.unused);
    }

    /// Renews the retention (PR-29). A receipt subscription is kept for a shorter time than the record of a user agent.
    pub(super) fn renew(&mut self, retention: Retention, now: Now, changes: &mut Changes) {
        let kept = match self.subscription(RECEIPTS) {
            Some(_) => retention.of(self.unused).min(RECEIPT_SUBSCRIPTION_KEPT),
            None => retention.of(self.unused),
        };
        self.retain(kept, now, changes);
    }

    /// Keeps the record for at least `kept`, and at most one grain longer. The end of the retention moves in grains, so that
    /// the record of a user agent that comes back every minute is not rewritten every minute.
    pub(super) fn retain(&mut self, kept: Duration, now: Now, changes: &mut Changes) {
        let kept_ms = millis(kept);
        let least_ms = now.ms().saturating_add(kept_ms);
        if self.retained_until_ms < least_ms {
            self.retained_until_ms = least_ms.saturating_add(kept_ms / RETENTION_GRAINS);
            changes.record = true;
        }
    }

    /// The number of the next message: above all earlier numbers, and close to the time (PR-7).
    pub(super) fn next_number(&self, now: Now) -> MessageNumber {
        MessageNumber((self.last.0 + 1).max(now.us))
    }
}

impl Attaches {
    /// Counts one attach. Returns how long to wait if there were too many within this minute (PR-15).
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

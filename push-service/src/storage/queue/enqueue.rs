//! Accepts a push message, or refuses it for a stated reason.

use std::sync::Arc;
use std::time::Duration;

use push_protocol::{MessageId, MessageNumber, PushMessage, ReceiptOutcome, SubscriptionName, Ttl};

use super::index::{IndexEntry, count, counted_bytes};
use super::{Bucket, Changes, Leaving, Now, PassingMessage, Step, Stored, Subscription, UserAgent, millis};
use crate::defaults::{ACKNOWLEDGE_WITHIN, LONGEST_RETRY_AFTER};
use crate::storage::{Enqueue, Enqueued, PASSING_WITH_RECEIPT, Rate, RemovalReason, Retention, WakeUp};

impl UserAgent {
    /// Checks, replaces, makes room, numbers and stores. A refusal changes nothing but the rate bucket.
    pub(in crate::storage) fn enqueue(
        &mut self,
        request: Enqueue,
        retention: Retention,
        now: Now,
    ) -> Step<Enqueued> {
        let changes = self.begin(now);
        let Some(subscription) = self.subscription_mut(request.subscription) else {
            return self.finish(Enqueued::NoSubscription, changes, now);
        };
        let name = subscription.name;
        if let Some(retry_after) = request.rate.and_then(|rate| subscription.take_token(rate, now)) {
            return self.finish(Enqueued::RateLimited { retry_after }, changes, now);
        }
        if request.ttl == Ttl::ZERO {
            self.pass_on(request, name, retention, changes, now)
        } else {
            self.store(request, name, retention, changes, now)
        }
    }

    /// Makes the record a used one (PR-29): only the first message changes it.
    fn received_a_push(&mut self, retention: Retention, now: Now, changes: &mut Changes) {
        if self.unused {
            self.renew_as_used(retention, now, changes);
        }
    }

    /// PR-21: a message with TTL 0 is not stored and gets no number: it is offered now or never. It replaces the waiting message
    /// of its topic, like any other.
    fn pass_on(
        &mut self,
        request: Enqueue,
        name: SubscriptionName,
        retention: Retention,
        mut changes: Changes,
        now: Now,
    ) -> Step<Enqueued> {
        self.received_a_push(retention, now, &mut changes);
        let replaced = self.replaced_by(&request);
        let left = self.leave_queue(&replaced, RemovalReason::Replaced, &mut changes, now);
        self.tell_removed(left, &mut changes);
        let id = MessageId {
            number: match request.receipts {
                Some(_) => PASSING_WITH_RECEIPT,
                None => MessageNumber::START,
            },
            nonce: request.nonce,
        };
        let seated = self.seat.is_some();
        self.remember_passing(&request, &mut changes, now);
        if let Some(seat) = self.seat {
            let message = Arc::new(accepted(request, id, name, now));
            changes.wake_ups.push((seat, WakeUp::Passing(message)));
        }
        self.finish(Enqueued::Passed { id, seated }, changes, now)
    }

    fn store(
        &mut self,
        request: Enqueue,
        name: SubscriptionName,
        retention: Retention,
        mut changes: Changes,
        now: Now,
    ) -> Step<Enqueued> {
        let replaced = self.replaced_by(&request);
        let Some(room) = self.make_room(&request, replaced.first().copied(), now) else {
            return self.finish(Enqueued::QueueFull, changes, now);
        };
        self.received_a_push(retention, now, &mut changes);
        let replaced_expired = self.expired_among(&replaced, now);
        let mut left = self.leave_queue(&replaced, RemovalReason::Replaced, &mut changes, now);
        left.extend(self.leave_queue(&room.expired, RemovalReason::Expired, &mut changes, now));
        left.extend(self.leave_queue(&room.evicted, RemovalReason::Evicted, &mut changes, now));
        self.tell_removed(left, &mut changes);

        let previous = self.last;
        let id = MessageId {
            number: self.next_number(now),
            nonce: request.nonce,
        };
        self.append(request, id, name, &mut changes, now);
        if let (Some(seat), Some(stored)) = (self.seat, &changes.stored) {
            let message = Arc::clone(&stored.message);
            changes
                .wake_ups
                .push((seat, WakeUp::Stored { message, previous }));
        }
        let outcome = Enqueued::Stored {
            id,
            replaced: replaced.len() > replaced_expired,
            evicted: count(room.evicted.len()),
            expired: count(room.expired.len() + replaced_expired),
        };
        self.finish(outcome, changes, now)
    }

    fn append(
        &mut self,
        request: Enqueue,
        id: MessageId,
        name: SubscriptionName,
        changes: &mut Changes,
        now: Now,
    ) {
        let (topic, sealed_by, receipts) = (request.topic, request.sealed_by.0, request.receipts);
        let sender = request.sender;
        let message = Arc::new(accepted(request, id, name, now));
        let stored = Stored {
            expires_at_ms: now.ms() + message.remaining_ms,
            topic,
            sealed_by,
            receipts,
            sender,
            message,
        };
        let waiting = IndexEntry::of(&stored);
        changes.add_to_gauges(&waiting);
        self.put_in(waiting, receipts);
        changes.stored = Some(stored);
    }

    /// PR-21: if a session holds the seat, an acknowledgement counts for a while.
    fn remember_passing(&mut self, request: &Enqueue, changes: &mut Changes, now: Now) {
        let Some(receipts) = request.receipts else { return };
        let passing = PassingMessage {
            number: self.receipt_state.next_number(now),
            nonce: request.nonce,
            subscription: request.subscription,
            receipts,
            until_ms: now.ms().saturating_add(millis(ACKNOWLEDGE_WITHIN)),
        };
        if self.seat.is_some() && self.receipt_state.add_passing(passing) {
            changes.receipts_mut().passing = Some(passing);
        } else {
            self.end_passing(&passing, ReceiptOutcome::GivenUp, changes);
        }
    }

    /// The waiting message of the newcomer's topic, if there is one.
    fn replaced_by(&self, request: &Enqueue) -> Vec<MessageNumber> {
        let outstanding = request
            .topic
            .and_then(|topic| self.waiting.of_topic(request.subscription, topic));
        outstanding.map(|w| w.id.number).into_iter().collect()
    }

    fn expired_among(&self, numbers: &[MessageNumber], now: Now) -> usize {
        let waiting = numbers.iter().filter_map(|number| self.waiting.get(*number));
        waiting.filter(|w| w.has_expired(now.ms())).count()
    }

    /// Takes messages out, and returns the ids of those that were there.
    fn leave_queue(
        &mut self,
        numbers: &[MessageNumber],
        why: RemovalReason,
        changes: &mut Changes,
        now: Now,
    ) -> Vec<MessageId> {
        let taken = numbers.iter();
        taken
            .filter_map(|number| Some(self.take_out(*number, Leaving::Removed(why), changes, now)?.id))
            .collect()
    }
}

impl Subscription {
    /// Takes a token, or returns when there will be one (PR-24).
    fn take_token(&mut self, rate: Rate, now: Now) -> Option<Duration> {
        let full = Bucket {
            tokens: rate.burst,
            at_us: now.us,
        };
        let before = self.bucket.unwrap_or(full);
        let elapsed = Duration::from_micros(now.us.saturating_sub(before.at_us));
        let refilled = before.tokens + elapsed.as_secs_f64() * rate.per_second;
        let tokens = refilled.min(rate.burst);
        let left = if tokens >= 1.0 { tokens - 1.0 } else { tokens };
        self.bucket = Some(Bucket {
            tokens: left,
            at_us: now.us,
        });
        (tokens < 1.0).then(|| {
            let missing = (1.0 - tokens) / rate.per_second;
            Duration::try_from_secs_f64(missing).map_or(LONGEST_RETRY_AFTER, |d| d.min(LONGEST_RETRY_AFTER))
        })
    }
}

fn accepted(request: Enqueue, id: MessageId, name: SubscriptionName, now: Now) -> PushMessage {
    PushMessage {
        id,
        subscription: request.subscription,
        name,
        urgency: request.urgency,
        content: request.content,
        key: request.key.map(Box::new),
        sealed_by: request.sealed_by,
        accepted_at_ms: now.ms(),
        remaining_ms: u64::from(request.ttl.as_secs()) * 1_000,
    }
}

/// What the newcomer counts against the limits of the queue.
pub(super) fn newcomer_bytes(request: &Enqueue) -> u64 {
    counted_bytes(request.content.body.len() as u64)
}

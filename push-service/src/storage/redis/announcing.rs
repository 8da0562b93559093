//! Announces a push message to the seat, if the seat is this node's. A seat of another node was told inside the script (PR-13).
//!
//! Guarantees that the seat is told first which messages were removed for the new one, and then of the new one. It deliberately
//! does not know what a session does with an announcement.

use std::sync::Arc;

use push_protocol::{MessageId, MessageNumber, PushMessage, SubscriptionName, UserAgentId};

use super::Redis;
use super::answers::{Accepted, Removed};
use super::counted::Counted;
use super::layout::{StoredAnswer, news};
use crate::storage::{Enqueue, Enqueued, PASSING_WITH_RECEIPT, RemovalReason, RemovedMessage, Seat, WakeUp};

impl Redis {
    /// The answer for a message. Announces it to the seat, if it is this node's.
    pub(super) fn enqueued(&self, enqueue: Enqueue, accepted: Accepted) -> Enqueued {
        let user_agent = enqueue.user_agent;
        match accepted {
            Accepted::NoSubscription => Enqueued::NoSubscription,
            Accepted::QueueFull => Enqueued::QueueFull,
            Accepted::RateLimited(retry_after) => Enqueued::RateLimited { retry_after },
            Accepted::Passed(passed, removed) => {
                self.note_news(user_agent, passed.news);
                let number = match enqueue.receipts {
                    Some(_) => PASSING_WITH_RECEIPT,
                    None => MessageNumber::START,
                };
                let nonce = enqueue.nonce;
                let id = MessageId { number, nonce };
                let seated = passed.seat.is_some();
                self.senders.left(&removed.counted);
                self.tell_left(user_agent, &removed, |_, has_expired| match has_expired {
                    true => RemovalReason::Expired,
                    false => RemovalReason::Replaced,
                });
                if let Some(seat) = self.own(passed.seat) {
                    self.tell_removed(user_agent, seat, removed.ids);
                    let message = Arc::new(message(enqueue, id, passed.name, self.runner.now_ms()));
                    self.announce.announce(user_agent, seat, WakeUp::Passing(message));
                }
                Enqueued::Passed { id, seated }
            }
            Accepted::Stored(stored, removed) => self.stored(enqueue, stored, removed),
        }
    }

    fn stored(&self, enqueue: Enqueue, stored: StoredAnswer, removed: Removed) -> Enqueued {
        let user_agent = enqueue.user_agent;
        let accepted_at_ms = stored.accepted_at_ms.0;
        let id = MessageId {
            number: stored.number,
            nonce: enqueue.nonce,
        };
        self.note_news(user_agent, stored.news);
        self.senders.left(&removed.counted);
        self.tell_left(user_agent, &removed, made_room(&stored, removed.ids.len()));
        let expires_at_ms = accepted_at_ms + u64::from(enqueue.ttl.as_secs()) * 1_000;
        let body_bytes = enqueue.content.body.len() as u64;
        let counted = Counted::new(enqueue.sender, id.number, body_bytes, expires_at_ms);
        self.senders.joined(&counted);
        if let Some(seat) = self.own(stored.seat) {
            self.tell_removed(user_agent, seat, removed.ids);
            let message = Arc::new(message(enqueue, id, stored.name, accepted_at_ms));
            let previous = stored.previous;
            self.announce
                .announce(user_agent, seat, WakeUp::Stored { message, previous });
        }
        Enqueued::Stored {
            id,
            replaced: stored.replaced,
            evicted: stored.evicted,
            expired: stored.expired,
        }
    }

    /// Passes on what a script noticed beside its step: something is due, or the outbox has entries.
    pub(super) fn note_news(&self, user_agent: UserAgentId, news: u8) {
        if news & news::DUE != 0 {
            self.due.notice(user_agent);
        }
        if news & news::OWES != 0 {
            self.announce.outbox_filled(user_agent);
        }
    }

    /// Tells a seat of this process what has gone from its window.
    pub(super) fn tell_removed(&self, user_agent: UserAgentId, seat: Seat, removed: Vec<MessageId>) {
        if !removed.is_empty() {
            self.announce.announce(user_agent, seat, WakeUp::Removed(removed));
        }
    }

    /// Tells of the messages that a step removed. `why` says the reason for the place of each and whether it has expired by this
    /// node's clock. Redis names no subscription.
    pub(super) fn tell_left(
        &self,
        user_agent: UserAgentId,
        removed: &Removed,
        why: impl Fn(usize, bool) -> RemovalReason,
    ) {
        if removed.ids.is_empty() {
            return;
        }
        let now_ms = self.runner.now_ms();
        for (place, (id, counted)) in removed.ids.iter().zip(&removed.counted).enumerate() {
            let message = RemovedMessage {
                id: *id,
                subscription: None,
                why: why(place, counted.expires_at_ms <= now_ms),
            };
            self.announce.removed(user_agent, message);
        }
    }

    /// A seat of this process.
    pub(super) fn own(&self, seat: Option<Seat>) -> Option<Seat> {
        seat.filter(|seat| seat.incarnation == self.incarnation)
    }
}

/// Why messages left to make room for a new one. The script names the message of its topic first, then those that had expired or
/// outlived their subscription, then those that were evicted.
fn made_room(stored: &StoredAnswer, left: usize) -> impl Fn(usize, bool) -> RemovalReason {
    let replaced = usize::from(stored.replaced);
    let evicted_from = left.saturating_sub(stored.evicted as usize);
    let all_expired = stored.expired as usize == evicted_from - replaced.min(evicted_from);
    move |place, has_expired| match place {
        place if place < replaced => RemovalReason::Replaced,
        place if place >= evicted_from => RemovalReason::Evicted,
        _ if all_expired || has_expired => RemovalReason::Expired,
        _ => RemovalReason::SubscriptionEnded,
    }
}

fn message(enqueue: Enqueue, id: MessageId, name: SubscriptionName, accepted_at_ms: u64) -> PushMessage {
    PushMessage {
        id,
        subscription: enqueue.subscription,
        name,
        urgency: enqueue.urgency,
        content: enqueue.content,
        key: enqueue.key.map(Box::new),
        sealed_by: enqueue.sealed_by,
        accepted_at_ms,
        remaining_ms: u64::from(enqueue.ttl.as_secs()) * 1_000,
    }
}

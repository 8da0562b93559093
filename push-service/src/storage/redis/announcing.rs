//! Announces how a push message was received to the seat, if it is this node's. A seat of another node was told inside the step
//! (PR-13).
//!
//! Guarantees that a message is announced behind what went out of the queue for it, in the order in which the script
//! answered. It deliberately does not know what a session makes of it.

use std::sync::Arc;

use push_protocol::{MessageId, MessageNumber, PushMessage, SubscriptionName, UserAgentId};

use super::Redis;
use super::answers::{Accepted, Removed};
use super::counted::Counted;
use super::layout::{StoredAnswer, news};
use crate::storage::{Enqueue, Enqueued, PASSING_WITH_RECEIPT, Seat, WakeUp};

impl Redis {
    /// The answer for a message. Announces it to the seat, if it is this node's.
    pub(super) fn enqueued(&self, enqueue: Enqueue, accepted: Accepted) -> Enqueued {
        let user_agent = enqueue.user_agent;
        match accepted {
            Accepted::NoSubscription => Enqueued::NoSubscription,
            Accepted::QueueFull => Enqueued::QueueFull,
            Accepted::RateLimited(retry_after) => Enqueued::RateLimited { retry_after },
            Accepted::Passed(passed, removed) => {
                self.hear(user_agent, passed.news);
                let number = match enqueue.receipts {
                    Some(_) => PASSING_WITH_RECEIPT,
                    None => MessageNumber::START,
                };
                let nonce = enqueue.nonce;
                let id = MessageId { number, nonce };
                let seated = passed.seat.is_some();
                self.senders.left(&removed.counted);
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
        self.hear(user_agent, stored.news);
        self.senders.left(&removed.counted);
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

    /// What a script noticed beside its step.
    pub(super) fn hear(&self, user_agent: UserAgentId, news: u8) {
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

    /// A seat of this process.
    pub(super) fn own(&self, seat: Option<Seat>) -> Option<Seat> {
        seat.filter(|seat| seat.incarnation == self.incarnation)
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

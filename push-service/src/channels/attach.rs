//! How a channel comes to its seat: in its turn, after a wait if it comes too often, and in time or not at all.
//!
//! Guarantees that a hello is answered before its user agent gives up, whatever storage does, and that nobody who waits
//! keeps another from storage.

use push_protocol::UserAgentId;
use push_protocol::session::{AttachOutcome, PageRequest};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Channels;
use crate::defaults::{ANSWER_WITHIN, ATTACH_DELAY_LONGEST};
use crate::storage::{Manner, Seat};

/// What came of it.
pub(super) enum Attachment {
    /// Storage was asked, and may have given the seat even if it couldn't say so.
    Asked(AttachOutcome, Option<OwnedSemaphorePermit>),
    /// Storage was not asked: no turn came in time, or the seat is a newer channel's to take.
    NotAsked,
}

impl Channels {
    /// Takes the seat and reads the head of the queue. For a channel that has claimed its user agent.
    pub(super) async fn attach(&self, user_agent: UserAgentId, seat: Seat, head: PageRequest) -> Attachment {
        let until = Instant::now() + ANSWER_WITHIN;
        let mut manner = Manner::Asking;
        loop {
            // Held while storage is asked, and not while one who comes too often waits (PR-15, PR-16).
            let Ok(turn) = timeout_at(until, self.attaching.acquire()).await else {
                return Attachment::NotAsked;
            };
            let is_late = Instant::now() >= until;
            if is_late || !self.registry.is_newest(user_agent, seat) {
                return Attachment::NotAsked;
            }
            // A hello is answered even if others keep all shares: with an empty head, behind which pages wait their turn.
            let share = self.share_of_delivery_now(head.bytes);
            let messages = if share.is_some() { head.messages } else { 0 };
            let head = PageRequest {
                messages,
                ..head.clone()
            };
            let asked = timeout_at(until, self.broker.attach(user_agent, seat, head, manner)).await;
            drop(turn);
            match asked {
                Ok(Ok(outcome)) => return Attachment::Asked(outcome, share),
                Ok(Err(retry_after)) if manner == Manner::Asking => {
                    drop(share);
                    sleep_until(until.min(Instant::now() + retry_after.min(ATTACH_DELAY_LONGEST))).await;
                    manner = Manner::Insisting;
                }
                Ok(Err(_)) | Err(_) => return Attachment::Asked(AttachOutcome::Trouble, None),
            }
        }
    }
}

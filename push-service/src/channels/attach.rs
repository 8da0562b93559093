//! How a channel comes to its seat: in its turn, after a wait if it comes too often, and in time or not at all.
//!
//! Guarantees that a hello is answered before its user agent gives up, whatever storage does, that nobody who waits keeps
//! another from storage, and that whoever gives up waits no longer.

use push_protocol::UserAgentId;
use push_protocol::session::{AttachOutcome, PageRequest};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::Channels;
use crate::defaults::{ANSWER_WITHIN, ATTACH_DELAY_LONGEST};
use crate::storage::{Manner, Seat};

/// What came of it.
pub(super) enum Attachment {
    /// Storage was asked, and may have given the seat even if it couldn't say so.
    Asked(AttachOutcome, Option<OwnedSemaphorePermit>),
    /// Storage gave nothing: no turn came in time, the seat is a newer channel's to take, or nobody wants it any more.
    NotAsked,
}

impl Channels {
    /// Takes the seat and reads the head of the queue. For a channel that has claimed its user agent. Once `given_up`
    /// resolves, nothing is waited for but an answer of storage.
    pub(super) async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        given_up: impl Future<Output = ()> + Send,
    ) -> Attachment {
        tokio::pin!(given_up);
        let until = Instant::now() + ANSWER_WITHIN;
        let mut manner = Manner::Asking;
        loop {
            // Held while storage is asked, and not while one who comes too often waits (PR-15, PR-16).
            let turn = tokio::select! {
                biased;
                () = &mut given_up => return Attachment::NotAsked,
                turn = timeout_at(until, self.attaching.acquire()) => turn,
            };
            let Ok(turn) = turn else {
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
                    let due = until.min(Instant::now() + retry_after.min(ATTACH_DELAY_LONGEST));
                    // Else whoever comes again and again, and is answered each time, leaves as many behind as come within
                    // the delay.
                    if timeout_at(due, &mut given_up).await.is_ok() {
                        return Attachment::NotAsked;
                    }
                    manner = Manner::Insisting;
                }
                Ok(Err(_)) | Err(_) => return Attachment::Asked(AttachOutcome::Trouble, None),
            }
        }
    }
}

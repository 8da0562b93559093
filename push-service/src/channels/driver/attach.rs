//! How a channel gets its seat: in its turn, after a delay if its user agent attaches too often, and in time or not at all.
//!
//! Guarantees: a hello is answered before its user agent gives up, whatever storage does; a channel that waits for its delay keeps
//! no other channel from storage; a channel that ends waits for nothing but an answer of storage.

use push_protocol::UserAgentId;
use push_protocol::session::{AttachOutcome, PageRequest};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::channels::handle::Handle;
use crate::channels::shared::Shared;
use crate::defaults::{ANSWER_WITHIN, ATTACH_DELAY_LONGEST};
use crate::storage::Manner;

/// How an attach ended.
pub(super) enum Attachment {
    /// Storage was asked, and may have given the seat even if it could not say so.
    Asked(AttachOutcome, Option<OwnedSemaphorePermit>),
    /// Storage gave nothing: no turn came in time, the seat is for a newer channel, or the channel has ended.
    NotAsked,
}

/// Takes the seat and reads the head of the queue. For a channel that has claimed its user agent in the registry.
pub(super) async fn attach(
    shared: &Shared,
    user_agent: UserAgentId,
    handle: &Handle,
    head: PageRequest,
) -> Attachment {
    let given_up = handle.seat_given_up();
    tokio::pin!(given_up);
    let until = Instant::now() + ANSWER_WITHIN;
    let mut manner = Manner::Asking;
    loop {
        // Held while storage is asked, and not while a user agent that attaches too often waits (PR-15, PR-16).
        let turn = tokio::select! {
            biased;
            () = &mut given_up => return Attachment::NotAsked,
            turn = timeout_at(until, shared.attaching.acquire()) => turn,
        };
        let Ok(turn) = turn else {
            return Attachment::NotAsked;
        };
        let is_late = Instant::now() >= until;
        if is_late || !shared.registry.is_newest(user_agent, handle.seat()) {
            return Attachment::NotAsked;
        }
        // A hello is answered even if others keep all shares: with an empty head, behind which pages wait their turn.
        let share = shared.share_of_delivery_now(head.bytes);
        let messages = if share.is_some() { head.messages } else { 0 };
        let head = PageRequest {
            messages,
            ..head.clone()
        };
        let asked = timeout_at(
            until,
            shared.broker.attach(user_agent, handle.seat(), head, manner),
        )
        .await;
        drop(turn);
        match asked {
            Ok(Ok(outcome)) => return Attachment::Asked(outcome, share),
            Ok(Err(retry_after)) if manner == Manner::Asking => {
                drop(share);
                let due = until.min(Instant::now() + retry_after.min(ATTACH_DELAY_LONGEST));
                // Otherwise a user agent that opens channels again and again leaves as many behind as fit into the delay.
                if timeout_at(due, &mut given_up).await.is_ok() {
                    return Attachment::NotAsked;
                }
                manner = Manner::Insisting;
            }
            Ok(Err(_)) | Err(_) => return Attachment::Asked(AttachOutcome::Trouble, None),
        }
    }
}

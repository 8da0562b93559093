//! Removes messages by id: acknowledged by the user agent, or taken back by the application server.

use push_protocol::{MessageId, ReceiptOutcome};

use super::{Changes, Leaving, Now, Step, UserAgent};
use crate::storage::{PASSING_WITH_RECEIPT, Removal, RemovalReason, Seat};

impl UserAgent {
    /// Removes by whole id, from any session (PR-6, PR-18). The holder of another seat than `by` is told.
    ///
    /// An expired message is removed as well, but counts as not there: its time was over.
    pub(in crate::storage) fn acknowledge(
        &mut self,
        messages: &[MessageId],
        removal: Removal,
        by: Option<Seat>,
        now: Now,
    ) -> Step<Vec<bool>> {
        let mut changes = self.begin(now);
        let how = match removal {
            Removal::Acknowledged => Leaving::Acknowledged,
            Removal::Cancelled => Leaving::Removed(RemovalReason::Cancelled),
            Removal::Emptied => Leaving::Removed(RemovalReason::Emptied),
        };
        // The session that removes them knows.
        let holder_knows = self.seat == by;
        let mut removed = Vec::new();
        let mut found = Vec::with_capacity(messages.len());
        for id in messages {
            if id.number == PASSING_WITH_RECEIPT {
                found.push(self.acknowledge_passing(id.nonce, how.receipt(), &mut changes, now));
                continue;
            }
            let waiting = self.waiting.get(id.number).filter(|w| w.id == *id);
            let in_time = waiting.map(|w| !w.has_expired(now.ms()));
            if in_time.is_some() {
                self.take_out(id.number, how, &mut changes, now);
                if !holder_knows {
                    removed.push(*id);
                }
            }
            found.push(in_time.unwrap_or(false));
        }
        self.tell_removed(removed, &mut changes);
        self.finish(found, changes, now)
    }

    /// PR-21: acknowledges a message with TTL 0 for which a receipt was requested, while it is remembered. All such messages
    /// have one number, so the nonce names it.
    fn acknowledge_passing(
        &mut self,
        nonce: u64,
        how: ReceiptOutcome,
        changes: &mut Changes,
        now: Now,
    ) -> bool {
        let Some(passing) = self
            .receipt_state
            .take_passing(1, |passing| passing.nonce == nonce)
            .pop()
        else {
            return false;
        };
        let in_time = now.ms() < passing.until_ms;
        let how = if in_time { how } else { ReceiptOutcome::GivenUp };
        self.end_passing(&passing, how, changes);
        in_time
    }
}

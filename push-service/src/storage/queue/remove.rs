//! Messages leave by name: acknowledged by the user agent, or taken back by the application server.

use push_protocol::MessageId;

use super::{Now, Step, UserAgent};
use crate::storage::Seat;

impl UserAgent {
    /// Removes by whole id, from any session (PR-6, PR-18). The holder of another seat than `by` is told.
    ///
    /// An expired message is removed as well, but counts as not there: its time was over.
    pub(in crate::storage) fn acknowledge(
        &mut self,
        messages: &[MessageId],
        by: Option<Seat>,
        now: Now,
    ) -> Step<Vec<bool>> {
        let mut changes = self.begin(now);
        let mut removed = Vec::new();
        let mut found = Vec::with_capacity(messages.len());
        for id in messages {
            let waiting = self.waiting.get(id.number).filter(|w| w.id == *id);
            let in_time = waiting.map(|w| !w.has_expired(now.ms()));
            if in_time.is_some() {
                self.take_out(id.number, &mut changes);
                removed.push(*id);
            }
            found.push(in_time.unwrap_or(false));
        }
        if self.seat != by {
            self.tell_removed(removed, &mut changes);
        }
        self.finish(found, changes, now)
    }
}

//! A user agent has its messages: they leave storage.

use std::time::Instant;

use push_protocol::{MessageId, UserAgentId};

use super::Broker;
use super::deliver::waited;
use crate::metrics::Step;
use crate::storage::{Confirm, Removal, Seat, StorageError};

impl Broker {
    /// Removes what a channel acknowledged, in one step. Idempotent; taken from any channel of the user agent (PR-18).
    ///
    /// Resolves when storage has it, which is durable within 100 ms (PR-4): nobody waits for an answer.
    pub async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        seat: Seat,
    ) -> Result<(), StorageError> {
        let started = Instant::now();
        let removed = self
            .storage
            .acknowledge(
                user_agent,
                messages,
                Removal::Acknowledged,
                Confirm::Soon,
                Some(seat),
            )
            .await;
        self.metrics.storage_step(Step::Acknowledge, started.elapsed());
        let removed = removed.inspect_err(|error| self.metrics.storage_error(error))?;
        for (id, _) in messages.iter().zip(removed).filter(|(_, was_there)| *was_there) {
            self.metrics.acknowledged(waited(id.number));
        }
        Ok(())
    }
}

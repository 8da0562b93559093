//! A user agent has its messages: they leave storage.

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
        let (how, confirm) = (Removal::Acknowledged, Confirm::Soon);
        let acknowledge = self
            .storage
            .acknowledge(user_agent, messages, how, confirm, Some(seat));
        let removed = self.answered(Step::Acknowledge, acknowledge).await?;
        for (id, _) in messages.iter().zip(removed).filter(|(_, was_there)| *was_there) {
            self.metrics.acknowledged(waited(id.number));
        }
        Ok(())
    }
}

//! Acknowledgements: messages that a user agent has leave storage.

use push_protocol::capability::{MessageCapability, MessageKind};
use push_protocol::{MessageId, UserAgentId};

use super::deliver::waited;
use super::{Broker, Refusal};
use crate::history::{self, StepKind};
use crate::metrics::Step;
use crate::storage::{Confirm, Removal, Seat, StorageError};

impl Broker {
    /// Removes what a channel acknowledged, in one step. Idempotent; taken from any channel of the user agent (PR-18).
    ///
    /// Resolves when storage has it. It is durable within 100 ms (PR-4): the user agent waits for no answer.
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
        let removed = self.step_within(Step::Acknowledge, acknowledge).await?;
        for (id, _) in messages.iter().zip(removed).filter(|(_, was_there)| *was_there) {
            self.acknowledged(user_agent, *id);
        }
        Ok(())
    }

    /// A message left storage because its user agent has it.
    fn acknowledged(&self, user_agent: UserAgentId, id: MessageId) {
        self.metrics.acknowledged(waited(id.number));
        let acknowledged = history::Step::now(StepKind::Acknowledged).of(id);
        self.history.record(&user_agent, acknowledged);
    }

    /// Opens the token of a message that its user agent has: in the URL of the promise or event that delivered it (RFC 8030 §6.2).
    /// Costs no storage.
    pub fn open_promise(&self, token: &str) -> Result<MessageCapability, Refusal> {
        let opened = self.capabilities.open_message(MessageKind::Promise, token);
        let opened = opened.ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(opened.capability)
    }

    /// Removes one message by the URL that its user agent has, as durably as it was accepted (PR-1). The session that offered it, on
    /// this or another node, is told that its window has room (PR-18).
    ///
    /// [`Refusal::MessageGone`] if it was not there any more: the user agent need not do anything then (R30-ACK-3).
    pub async fn acknowledge_promised(&self, message: &MessageCapability) -> Result<(), Refusal> {
        let ids = [message.id];
        let (who, how) = (message.user_agent, Removal::Acknowledged);
        let acknowledge = self.storage.acknowledge(who, &ids, how, Confirm::Durably, None);
        let removed = self.step(Step::Acknowledge, acknowledge).await?;
        if !removed.contains(&true) {
            return Err(Refusal::MessageGone);
        }
        self.acknowledged(message.user_agent, message.id);
        Ok(())
    }
}

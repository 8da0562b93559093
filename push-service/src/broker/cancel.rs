//! Cancelling: an application server takes a message back by its message resource (PR-26).

use push_protocol::capability::{MessageCapability, MessageKind};

use super::{Broker, Refusal};
use crate::metrics::{Removed, Step};
use crate::storage::{Confirm, Removal};

impl Broker {
    /// Opens the token of a message resource. Costs no storage.
    pub fn open_message(&self, token: &str) -> Result<MessageCapability, Refusal> {
        let opened = self.capabilities.open_message(MessageKind::Message, token);
        let opened = opened.ok_or(Refusal::UnknownResource)?;
        self.metrics.capability_opened(opened.key);
        Ok(opened.capability)
    }

    /// Takes a message back, as durably as it was accepted (PR-1).
    ///
    /// [`Refusal::MessageGone`] if it had been delivered, replaced, given up or taken back before.
    pub async fn cancel(&self, message: &MessageCapability) -> Result<(), Refusal> {
        let ids = [message.id];
        let (who, how) = (message.user_agent, Removal::Cancelled);
        let cancel = self.storage.acknowledge(who, &ids, how, Confirm::Durably, None);
        let removed = self.step(Step::Acknowledge, cancel).await?;
        if !removed.contains(&true) {
            return Err(Refusal::MessageGone);
        }
        self.metrics.removed(Removed::Cancelled, 1);
        Ok(())
    }
}

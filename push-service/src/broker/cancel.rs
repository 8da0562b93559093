//! Taking a message back: its application server DELETEs the URL that it was given (PR-26).

use push_protocol::capability::{MessageCapability, MessageKind};

use super::{Broker, Refusal};
use crate::storage::{Confirm, Removal};

impl Broker {
    /// What the token of a message resource stands for. Costs no storage.
    pub fn open_message(&self, token: &str) -> Result<MessageCapability, Refusal> {
        let opened = self.capabilities.open_message(MessageKind::Message, token);
        Ok(opened.ok_or(Refusal::UnknownResource)?.capability)
    }

    /// Takes a message back, as durably as it was accepted (PR-1).
    ///
    /// [`Refusal::MessageGone`] if it had been delivered, replaced, given up or taken back before.
    pub async fn cancel(&self, message: &MessageCapability) -> Result<(), Refusal> {
        let ids = [message.id];
        let removed = self
            .storage
            .acknowledge(
                message.user_agent,
                &ids,
                Removal::Cancelled,
                Confirm::Durably,
                None,
            )
            .await?;
        if removed.contains(&true) {
            Ok(())
        } else {
            Err(Refusal::MessageGone)
        }
    }
}

//! What an operator does by hand: ends user agents and subscriptions, empties queues, refuses senders for a while.
//!
//! The steps of storage are those that user agents and senders cause too. So receipts are relayed, and the seat is told on
//! whichever node it is.

use std::time::{Duration, Instant};

use push_protocol::{SubscriptionId, UserAgentId};

use super::senders::{Ranked, SenderId, TooManyRefused};
use super::{Broker, Refusal};
use crate::defaults::WAITING_STEP;
use crate::metrics::{Removed, Step};
use crate::storage::{
    Confirm, Cursor, Ending, Listed, Removal, StorageError, Traced, UserAgentReport, WaitingMessage, Which,
};

/// Looking.
impl Broker {
    /// What storage knows of a user agent.
    pub async fn report(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        self.step_within(Step::Inspect, self.storage.inspect(user_agent))
            .await
    }

    /// Messages that wait for a user agent.
    pub async fn waiting(
        &self,
        user_agent: UserAgentId,
        which: Which,
    ) -> Result<Vec<WaitingMessage>, StorageError> {
        let waiting = self.storage.waiting(user_agent, which);
        self.step_within(Step::Inspect, waiting).await
    }

    /// Some user agents, and where to go on.
    pub async fn list(&self, after: Option<&Cursor>) -> Result<Listed, StorageError> {
        self.step_within(Step::Inspect, self.storage.list(after)).await
    }

    /// What the receipt state says of a message.
    pub async fn traced(&self, user_agent: UserAgentId, nonce: u64) -> Result<Traced, StorageError> {
        let trace = self.storage.trace(user_agent, nonce);
        self.step_within(Step::Inspect, trace).await
    }

    /// The keys that send most on this node, the first sends most.
    pub fn senders(&self) -> Vec<Ranked> {
        self.ranking.most()
    }

    /// The keys that this node refuses, and for how long.
    pub fn refused_senders(&self) -> Vec<(SenderId, Duration)> {
        self.refused_senders.all(Instant::now())
    }
}

/// Changing.
impl Broker {
    /// Ends a user agent with all its subscriptions and messages, and returns whether there was one. If it is connected, its
    /// channel ends.
    pub async fn end_user_agent(&self, user_agent: UserAgentId) -> Result<bool, StorageError> {
        self.end_by_operator(user_agent, None).await
    }

    /// Ends one subscription with its messages, and returns whether there was one.
    pub async fn end_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError> {
        self.end_by_operator(user_agent, Some(subscription)).await
    }

    /// Removes all messages that wait, and returns how many; `None` for a stranger. Messages that arrive meanwhile may stay.
    /// Receipts say that they were given up.
    pub async fn empty_queue(&self, user_agent: UserAgentId) -> Result<Option<u64>, StorageError> {
        let Some(report) = self.report(user_agent).await? else {
            return Ok(None);
        };
        let mut gone = 0;
        // Each step takes what waits, so this ends even if others send as fast.
        for _ in 0..=report.messages as usize / WAITING_STEP {
            let waiting = self.waiting(user_agent, Which::First(WAITING_STEP)).await?;
            if waiting.is_empty() {
                break;
            }
            gone += self.remove(user_agent, &waiting).await?;
        }
        Ok(Some(gone))
    }

    /// Refuses a key on this node, for so long.
    pub fn refuse_sender(&self, sender: SenderId, wait: Duration) -> Result<(), TooManyRefused> {
        self.refused_senders.refuse(sender, wait, Instant::now())
    }

    /// Lets a key send again, and returns whether it was refused.
    pub fn allow_sender(&self, sender: SenderId) -> bool {
        self.refused_senders.allow(sender, Instant::now())
    }

    /// Whether an operator refuses this key.
    pub(super) fn refused_by_operator(&self, sender: SenderId) -> Result<(), Refusal> {
        match self.refused_senders.refused_for(sender, Instant::now) {
            None => Ok(()),
            Some(retry_after) => Err(Refusal::SenderRefused { retry_after }),
        }
    }

    async fn end_by_operator(
        &self,
        user_agent: UserAgentId,
        subscription: Option<SubscriptionId>,
    ) -> Result<bool, StorageError> {
        let ending = subscription.map_or(Ending::All, Ending::One);
        let ended = self
            .step_within(Step::Unsubscribe, self.storage.end(user_agent, ending))
            .await?;
        if ended {
            self.subscription_ended(user_agent, subscription);
        }
        Ok(ended)
    }

    async fn remove(&self, user_agent: UserAgentId, waiting: &[WaitingMessage]) -> Result<u64, StorageError> {
        let ids: Vec<_> = waiting.iter().map(|message| message.id).collect();
        let remove = self
            .storage
            .acknowledge(user_agent, &ids, Removal::Emptied, Confirm::Durably, None);
        let were_there = self.step_within(Step::Acknowledge, remove).await?;
        let gone = were_there.iter().filter(|was_there| **was_there).count() as u64;
        self.metrics.removed(Removed::Emptied, gone);
        Ok(gone)
    }
}

//! Which outboxes to relay: hints from the steps of storage.
//!
//! Bounded, and only in memory: a hint that is lost here is found by the next look into storage. Knows neither receipts nor
//! storage.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use push_protocol::UserAgentId;
use tokio::sync::Notify;

use crate::defaults::OUTBOXES_HINTED;

/// User agents whose outbox may have entries: hints from storage's steps to the task that relays.
#[derive(Default)]
pub struct Outboxes {
    hinted: Mutex<BTreeSet<UserAgentId>>,
    noted: Notify,
}

impl Outboxes {
    /// A hint. Beyond [`OUTBOXES_HINTED`] they are dropped: the next look into storage finds the outbox.
    pub fn hint(&self, user_agent: UserAgentId) {
        self.hint_later(user_agent);
        self.noted.notify_one();
    }

    /// A hint that wakes no relay: the outbox is relayed with the next ones, because storage was in trouble.
    pub(super) fn hint_later(&self, user_agent: UserAgentId) {
        let mut hinted = self.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        if hinted.len() < OUTBOXES_HINTED {
            hinted.insert(user_agent);
        }
    }

    /// Resolves when there is a hint. Cancel safe: a hint that comes while no one waits is kept.
    pub(super) async fn wait(&self) {
        self.noted.notified().await;
    }

    /// Takes all hints.
    pub(super) fn take(&self) -> Vec<UserAgentId> {
        let mut hinted = self.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *hinted).into_iter().collect()
    }
}

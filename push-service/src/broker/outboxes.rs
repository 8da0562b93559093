//! Which outboxes to look into: hints from the steps of storage, gathered for whoever carries receipts.
//!
//! Bounded, and only in memory: what is lost here is found by the next look at storage. Knows no receipts and no storage.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use push_protocol::UserAgentId;
use tokio::sync::Notify;

use crate::defaults::OUTBOXES_HINTED;

/// User agents whose outbox may hold something: hints from storage's steps to whoever carries.
#[derive(Default)]
pub struct Outboxes {
    hinted: Mutex<BTreeSet<UserAgentId>>,
    noted: Notify,
}

impl Outboxes {
    /// A hint. Beyond [`OUTBOXES_HINTED`] they are dropped: a look at storage finds what they told of.
    pub fn hint(&self, user_agent: UserAgentId) {
        self.again(user_agent);
        self.noted.notify_one();
    }

    /// To be carried at the next occasion, but not at once: storage had trouble.
    pub(super) fn again(&self, user_agent: UserAgentId) {
        let mut hinted = self.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        if hinted.len() < OUTBOXES_HINTED {
            hinted.insert(user_agent);
        }
    }

    /// Resolves when something was hinted at. Cancel safe: a hint that nobody waited for is kept.
    pub(super) async fn wait(&self) {
        self.noted.notified().await;
    }

    /// All of them; they are to be looked into now.
    pub(super) fn take(&self) -> Vec<UserAgentId> {
        let mut hinted = self.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *hinted).into_iter().collect()
    }
}

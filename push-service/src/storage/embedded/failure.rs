//! What the writer publishes: whether the store has failed, and its gauges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::Shared;
use crate::storage::{StorageError, Usage};

/// Whether a write or sync has failed. It happens once, and for good (PR-5).
pub(super) struct Failure(watch::Sender<Option<String>>);

impl Default for Failure {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Failure {
    /// The first reason is kept.
    pub(super) fn happen(&self, why: &str) {
        self.0.send_if_modified(|reason| {
            let is_first = reason.is_none();
            reason.get_or_insert_with(|| why.to_owned());
            is_first
        });
    }

    pub(super) fn check(&self) -> Result<(), StorageError> {
        match &*self.0.borrow() {
            Some(why) => Err(StorageError::Failed(why.clone())),
            None => Ok(()),
        }
    }

    /// Resolves when it happens.
    pub(super) async fn happened(&self) -> String {
        let mut reason = self.0.subscribe();
        loop {
            if let Some(why) = &*reason.borrow_and_update() {
                return why.clone();
            }
            if reason.changed().await.is_err() {
                // Cannot happen: the sender is borrowed here.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Kept by a thread of the store: makes a panic that ends the thread a failure of the store.
pub(super) struct FailOnPanic {
    shared: Arc<Shared>,
    thread: &'static str,
}

impl FailOnPanic {
    pub(super) fn new(shared: &Arc<Shared>, thread: &'static str) -> Self {
        Self {
            shared: Arc::clone(shared),
            thread,
        }
    }
}

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = format!("the store's {} panicked", self.thread);
            self.shared.failure.happen(&why);
        }
    }
}

/// What the store holds, as of the last batch.
#[derive(Default)]
pub(super) struct Gauges {
    messages: AtomicU64,
    bytes: AtomicU64,
    user_agents: AtomicU64,
}

impl Gauges {
    pub(super) fn publish(&self, usage: Usage) {
        self.messages.store(usage.messages, Ordering::Relaxed);
        self.bytes.store(usage.bytes, Ordering::Relaxed);
        self.user_agents.store(usage.user_agents, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Usage {
        Usage {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            user_agents: self.user_agents.load(Ordering::Relaxed),
        }
    }
}

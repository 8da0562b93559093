//! What a trial and its senders share: the checker, and whether senders go on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Ledger;
use crate::connector::Connector;

/// What a trial wants of its load.
pub(super) struct Load {
    /// Senders wait while so many messages do.
    pub(super) backlog: usize,
    /// Texts are longer than their shortest by less than this, in bytes.
    pub(super) most_filler: usize,
}

/// What the trial and its senders share.
pub(super) struct World<B> {
    checker: Mutex<B>,
    load: Load,
    /// How many messages were accepted and have not arrived.
    missing: watch::Sender<usize>,
    /// Where the service is, while it may be connected to.
    service: watch::Receiver<Option<Connector>>,
    /// Whether senders go on.
    storm: watch::Receiver<bool>,
}

impl<B: Ledger> World<B> {
    pub(super) fn new(
        checker: B,
        load: Load,
        service: watch::Receiver<Option<Connector>>,
        storm: watch::Receiver<bool>,
    ) -> Self {
        Self {
            checker: Mutex::new(checker),
            load,
            missing: watch::Sender::new(0),
            service,
            storm,
        }
    }

    pub(super) fn checker(&self) -> MutexGuard<'_, B> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the checker, and tells senders that wait for room in the backlog.
    pub(super) fn enter<T>(&self, change: impl FnOnce(&mut B) -> T) -> T {
        let mut checker = self.checker();
        let changed = change(&mut checker);
        self.missing.send_replace(checker.sent().missing());
        changed
    }

    pub(super) fn most_filler(&self) -> usize {
        self.load.most_filler
    }

    /// Waits until the backlog has room and the storm goes on; `false` when it is over.
    pub(super) async fn goes_on(&self) -> bool {
        let (mut missing, mut storm) = (self.missing.subscribe(), self.storm.clone());
        tokio::select! {
            biased;
            _ = storm.wait_for(|on| !on) => false,
            _ = missing.wait_for(|missing| *missing < self.load.backlog) => true,
        }
    }

    /// Waits until the service may be connected to.
    pub(super) async fn connector(&self) -> Connector {
        let mut service = self.service.clone();
        let up = service.wait_for(Option::is_some).await;
        up.expect("the test goes on").clone().expect("it was waited for")
    }
}

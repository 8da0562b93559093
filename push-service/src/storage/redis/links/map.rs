//! Keeps up to date which server is primary of which bucket.
//!
//! One task asks: every few seconds, and at once when a step met a sign that the table is old, but not more often than
//! [`REDIS_REFRESH_APART`]. One refresh serves all steps that want one.
//!
//! **Invariant:** a primary at another address, or one that was deposed, is another [`Primary`] with connections of its
//! own: nothing that was connected to the old one is used for the new.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::confirmed::Confirmation;
use super::discovery::Discovery;
use super::link::Connector;
use super::primary::Primary;
use super::table::Table;
use crate::defaults::{REDIS_REDIRECT_TARGETS, REDIS_REFRESH_APART, REDIS_WATCH_EVERY};
use crate::storage::redis::bucket::Bucket;
use crate::storage::redis::url::Address;

/// The table, for all who need it, and the way to have it looked at again.
pub(super) struct Map {
    connector: Arc<Connector>,
    confirmation: Option<Confirmation>,
    current: watch::Sender<Table>,
    wanted: Notify,
    /// Servers that a redirection named and that have no bucket: a member of a cluster that is just being given some.
    redirect_targets: Mutex<Vec<Arc<Primary>>>,
}

impl Map {
    /// An empty one.
    pub(super) fn new(connector: Arc<Connector>, confirmation: Option<Confirmation>) -> Self {
        Self {
            connector,
            confirmation,
            current: watch::Sender::new(Table::empty()),
            wanted: Notify::new(),
            redirect_targets: Mutex::new(Vec::new()),
        }
    }

    /// The primary of a bucket, as far as is known.
    pub(super) fn primary(&self, bucket: Bucket) -> Option<Arc<Primary>> {
        self.current.borrow().primary(bucket).map(Arc::clone)
    }

    /// The table as it is.
    pub(super) fn now(&self) -> Table {
        self.current.borrow().clone()
    }

    /// Tells of changes.
    pub(super) fn changes(&self) -> watch::Receiver<Table> {
        self.current.subscribe()
    }

    /// Asks for a look. Returns at once.
    pub(super) fn refresh(&self) {
        self.wanted.notify_one();
    }

    /// The server at an address that a redirection named.
    pub(super) fn at(&self, address: &Address) -> Arc<Primary> {
        let table = self.current.borrow();
        let is_there = |primary: &&Arc<Primary>| primary.address == *address && !primary.is_deposed();
        if let Some(known) = table.primaries.iter().find(is_there) {
            return Arc::clone(known);
        }
        drop(table);
        let mut redirect_targets = self.lock();
        if let Some(known) = redirect_targets.iter().find(is_there) {
            return Arc::clone(known);
        }
        if redirect_targets.len() == REDIS_REDIRECT_TARGETS {
            redirect_targets.remove(0);
        }
        let target = self.new_primary(address);
        redirect_targets.push(Arc::clone(&target));
        target
    }

    /// Looks again and again. Runs until it is dropped.
    pub(super) async fn watch(&self, mut discovery: Discovery) {
        let mut in_trouble = false;
        loop {
            let looked = Instant::now();
            let found = self.look(&mut discovery).await;
            match &found {
                Err(why) if !in_trouble => {
                    tracing::warn!(%why, "cannot ask which server is the primary in Redis; the last known one is used");
                }
                Ok(()) if in_trouble => tracing::info!("the primary in Redis is known again"),
                _ => {}
            }
            in_trouble = found.is_err();
            let _ = timeout(REDIS_WATCH_EVERY, self.wanted.notified()).await;
            sleep_until(looked + REDIS_REFRESH_APART).await;
        }
    }

    /// Looks once.
    ///
    /// # Errors
    ///
    /// Why no server tells which one is primary. The table stays as it was.
    pub(super) async fn look(&self, discovery: &mut Discovery) -> Result<(), String> {
        let before = self.now();
        let found = discovery.look(&before, &self.connector).await?;
        let mut redirect_targets = self.lock();
        let table = Table::of(&found, |address| {
            let known = before.primaries.iter().chain(redirect_targets.iter());
            let mut known = known.filter(|primary| primary.address == *address && !primary.is_deposed());
            known.next().map_or_else(|| self.new_primary(address), Arc::clone)
        });
        redirect_targets
            .retain(|one| !one.is_deposed() && !table.primaries.iter().any(|primary| primary.id == one.id));
        drop(redirect_targets);
        if !table.is(&before) {
            self.current.send_replace(table);
        }
        Ok(())
    }

    fn new_primary(&self, address: &Address) -> Arc<Primary> {
        Primary::new(address.clone(), Arc::clone(&self.connector), self.confirmation)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Primary>>> {
        self.redirect_targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

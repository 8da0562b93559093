//! What hostile connections know of the service, and what they count.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::channel;
use crate::connector::Connector;
use crate::target::Target;

/// What all hostile connections know and count.
pub(super) struct Ground {
    /// Where user agents connect: all nodes.
    pub(super) nodes: Vec<SocketAddr>,
    /// Where application servers connect.
    pub(super) sending: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    /// How many hostile connections there are.
    pub(super) connections: usize,
    addresses: Option<u16>,
    sent: AtomicU64,
    broken: AtomicU64,
    statuses: Mutex<BTreeMap<u16, u64>>,
}

/// What was counted.
#[derive(Default)]
pub(super) struct Seen {
    /// Requests, frames or connections that were tried.
    pub(super) sent: u64,
    /// Connections that the service refused or ended.
    pub(super) broken: u64,
    /// Number of answers by status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Hostile connections that could not be prepared.
    pub(super) unprepared: usize,
}

impl Ground {
    pub(super) fn new(target: &Target, connections: usize, addresses: Option<u16>) -> Self {
        Self {
            nodes: target.all_clear().iter().map(Connector::address).collect(),
            sending: target.sending().address(),
            admin: target.admin(),
            connections,
            addresses,
            sent: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            statuses: Mutex::default(),
        }
    }

    /// Counts from zero.
    pub(super) fn begin_counting(&self) {
        self.sent.store(0, Ordering::Relaxed);
        self.broken.store(0, Ordering::Relaxed);
        self.statuses().clear();
    }

    /// What was counted so far.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            sent: self.sent.load(Ordering::Relaxed),
            broken: self.broken.load(Ordering::Relaxed),
            statuses: self.statuses().clone(),
            unprepared: 0,
        }
    }

    /// The address of the `nth` hostile connection.
    pub(super) fn source(&self, nth: usize) -> Option<IpAddr> {
        channel::source(nth, self.addresses)
    }

    /// Counts this number of tries.
    pub(super) fn sent(&self, times: u64) {
        self.sent.fetch_add(times, Ordering::Relaxed);
    }

    /// Counts an answer.
    pub(super) fn answered(&self, status: u16) {
        *self.statuses().entry(status).or_default() += 1;
    }

    /// Counts a connection that was refused or ended.
    pub(super) fn broke(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    fn statuses(&self) -> MutexGuard<'_, BTreeMap<u16, u64>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

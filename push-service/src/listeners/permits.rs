//! How many connections there may be, in all and from one address.
//!
//! A [`Permit`] stays with its connection, also after that became a channel. Dropping it makes room for another connection.
//! Addresses are counted as they pay: an IPv4 address or a /64 of IPv6, which is what one customer of a provider
//! gets. A peer without a budget has no limit of connections either.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::budgets::Payer;
use crate::channels::Guard;
use crate::metrics::{Connection, Listener, Metrics};

/// The open connections: how many in all, and how many from each address.
pub(super) struct ConnectionLimits {
    total: usize,
    per_address: u32,
    metrics: Arc<Metrics>,
    open: AtomicUsize,
    /// Bounded by `total`: an address without a connection has no entry.
    by_address: Mutex<HashMap<NonZeroU64, u32>>,
}

impl ConnectionLimits {
    /// At most `total` connections, of which `per_address` from one address; 0 of those means no limit.
    pub(super) fn new(total: usize, per_address: u32, metrics: Arc<Metrics>) -> Arc<Self> {
        metrics.connections_limit(total);
        Arc::new(Self {
            total,
            per_address: if per_address == 0 { u32::MAX } else { per_address },
            metrics,
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
        })
    }

    /// A permit for one more connection of `listener`; `None` if there are as many as allowed.
    pub(super) fn admit(self: &Arc<Self>, listener: Listener) -> Option<Permit> {
        let one_more = |open| (open < self.total).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        self.metrics.connection(listener, Connection::Opened);
        Some(Permit {
            limits: Arc::clone(self),
            listener,
            payer: Payer::UNKNOWN,
        })
    }

    /// How many connections there may be, if there are as many.
    pub(super) fn used_up(&self) -> Option<usize> {
        (self.open.load(Ordering::Relaxed) >= self.total).then_some(self.total)
    }

    fn enter(&self, address: NonZeroU64) -> bool {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        let admitted = *count < self.per_address;
        *count += u32::from(admitted);
        admitted
    }

    fn leave(&self, address: NonZeroU64) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = by_address.entry(address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Counts its connection among the open ones until it is dropped.
pub struct Permit {
    limits: Arc<ConnectionLimits>,
    listener: Listener,
    payer: Payer,
}

impl Permit {
    /// Counts the connection for `payer` instead of the payer before. Returns false, and changes nothing, if that
    /// address has as many as it may.
    #[must_use]
    pub(super) fn count_for(&mut self, payer: Payer) -> bool {
        if self.payer == payer {
            return true;
        }
        if let Some(address) = payer.address()
            && !self.limits.enter(address)
        {
            return false;
        }
        if let Some(before) = std::mem::replace(&mut self.payer, payer).address() {
            self.limits.leave(before);
        }
        true
    }

    /// Who pays for the requests on the connection.
    pub fn payer(&self) -> Payer {
        self.payer
    }
}

impl Guard for Permit {
    fn payer(&self) -> Payer {
        self.payer
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.payer.address() {
            self.limits.leave(address);
        }
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
        self.limits.metrics.connection(self.listener, Connection::Closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budgets::Budgets;

    fn limits(total: usize, per_address: u32) -> Arc<ConnectionLimits> {
        ConnectionLimits::new(total, per_address, Arc::default())
    }

    fn budgets() -> Budgets {
        Budgets::unlimited(Arc::default())
    }

    fn payer(budgets: &Budgets, address: &str) -> Payer {
        budgets.payer(address.parse().unwrap())
    }

    /// A connection is counted until its permit is dropped, wherever that happens, and never subtracted twice.
    #[test]
    fn a_permit_counts_its_connection() {
        let limits = limits(2, 0);
        let first = limits.admit(Listener::Http).unwrap();
        let _second = limits.admit(Listener::Http).unwrap();
        assert!(limits.admit(Listener::Http).is_none());
        drop(first);
        let _third = limits.admit(Listener::Http).unwrap();
        assert!(limits.admit(Listener::Http).is_none());
        assert_eq!(limits.open.load(Ordering::Relaxed), 2);
    }

    /// One address gets its share and no more: IPv6 by /64, an IPv4 address also when it comes mapped into IPv6.
    #[test]
    fn addresses_are_counted_by_customer() {
        let rows = [
            ("192.0.2.1", "192.0.2.1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", false),
            ("192.0.2.1", "192.0.2.2", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", false),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", true),
        ];
        let budgets = budgets();
        let address = |text: &str| payer(&budgets, text);
        for (one, other, admitted) in rows {
            let limits = limits(9, 1);
            let (mut first, mut second) = (
                limits.admit(Listener::Http).unwrap(),
                limits.admit(Listener::Http).unwrap(),
            );
            assert!(first.count_for(address(one)));
            assert_eq!(second.count_for(address(other)), admitted, "{one} and {other}");
            drop(first);
            assert!(second.count_for(address(one)), "{one} has left");
        }
    }

    /// The table of addresses holds only those that are connected.
    #[test]
    fn who_left_is_forgotten() {
        let limits = limits(9, 1);
        let budgets = budgets();
        let address = |text: &str| payer(&budgets, text);
        let mut permit = limits.admit(Listener::Http).unwrap();
        assert!(permit.count_for(address("192.0.2.1")));
        assert!(permit.count_for(address("192.0.2.1")));
        assert!(permit.count_for(address("192.0.2.2")));
        assert_eq!(limits.by_address.lock().unwrap().len(), 1);
        drop(permit);
        assert!(limits.by_address.lock().unwrap().is_empty());
        assert_eq!(limits.open.load(Ordering::Relaxed), 0);
    }
}

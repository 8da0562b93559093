//! How many connections there may be, in all and from one address.
//!
//! A [`Permit`] travels with its connection, also after that became a channel; dropping it gives the place back.
//! Addresses are counted as what one customer of a provider gets: an IPv4 address, or a /64 of IPv6.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Who is connected, by number.
#[derive(Debug)]
pub struct ConnectionLimits {
    total: usize,
    per_address: usize,
    open: AtomicUsize,
    /// Bounded by `total`: an address without a connection has no entry.
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionLimits {
    /// At most `total` connections, of which `per_address` from one address; 0 means no limit.
    pub fn new(total: usize, per_address: usize) -> Arc<Self> {
        let or_unlimited = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        Arc::new(Self {
            total: or_unlimited(total),
            per_address: or_unlimited(per_address),
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
        })
    }

    /// A place for one more connection, or `None` if there is none.
    pub fn admit(self: &Arc<Self>) -> Option<Permit> {
        let one_more = |open| (open < self.total).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Permit {
            limits: Arc::clone(self),
            address: None,
        })
    }

    /// Connections that hold a permit.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn enter(&self, address: IpAddr) -> bool {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        let admitted = *count < self.per_address;
        *count += usize::from(admitted);
        admitted
    }

    fn leave(&self, address: IpAddr) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = by_address.entry(address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// A connection's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<ConnectionLimits>,
    address: Option<IpAddr>,
}

impl Permit {
    /// Counts the connection as one of `address`, and no longer as one of another. False if that address has as many
    /// as it may: then nothing changed.
    #[must_use]
    pub fn count_for(&mut self, address: IpAddr) -> bool {
        let address = counted_as(address);
        if self.address == Some(address) {
            return true;
        }
        if !self.limits.enter(address) {
            return false;
        }
        if let Some(before) = self.address.replace(address) {
            self.limits.leave(before);
        }
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.limits.leave(address);
        }
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A place is given back when its permit is dropped, wherever that happens, and never twice.
    #[test]
    fn a_permit_is_a_place() {
        let limits = ConnectionLimits::new(2, 0);
        let first = limits.admit().unwrap();
        let _second = limits.admit().unwrap();
        assert!(limits.admit().is_none());
        drop(first);
        let _third = limits.admit().unwrap();
        assert!(limits.admit().is_none());
        assert_eq!(limits.open(), 2);
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
        for (one, other, admitted) in rows {
            let limits = ConnectionLimits::new(0, 1);
            let (mut first, mut second) = (limits.admit().unwrap(), limits.admit().unwrap());
            assert!(first.count_for(address(one)));
            assert_eq!(second.count_for(address(other)), admitted, "{one} and {other}");
            drop(first);
            assert!(second.count_for(address(one)), "{one} has left");
        }
    }

    /// The table of addresses holds only those that are connected.
    #[test]
    fn who_left_is_forgotten() {
        let limits = ConnectionLimits::new(0, 1);
        let mut permit = limits.admit().unwrap();
        assert!(permit.count_for(address("192.0.2.1")));
        assert!(permit.count_for(address("192.0.2.1")));
        assert!(permit.count_for(address("192.0.2.2")));
        assert_eq!(limits.by_address.lock().unwrap().len(), 1);
        drop(permit);
        assert!(limits.by_address.lock().unwrap().is_empty());
        assert_eq!(limits.open(), 0);
    }
}

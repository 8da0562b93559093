//! Leases of overdue receipts: one that was given out is not given out again for a while. Not kept across a restart.

use std::collections::HashMap;

use super::Overdue;
use super::clock::Now;
use crate::defaults::{RECEIPT_LEASE, RECEIPT_LEASES};

/// The leased receipts, each with the end of its lease in milliseconds since 1970.
///
/// **Invariant:** at most [`RECEIPT_LEASES`].
#[derive(Default)]
pub(super) struct Leases(HashMap<Overdue, u64>);

impl Leases {
    /// How many of the longest overdue receipts have to be read to find `limit` that are not leased.
    pub(super) fn look(&mut self, limit: usize, now: Now) -> usize {
        self.0.retain(|_, until_ms| now.ms() < *until_ms);
        self.0.len() + self.room(limit)
    }

    /// Leases the first of these that are not leased, at most `limit`.
    pub(super) fn take(
        &mut self,
        overdue: impl IntoIterator<Item = Overdue>,
        limit: usize,
        now: Now,
    ) -> Vec<Overdue> {
        let until_ms = now.ms() + RECEIPT_LEASE.as_millis() as u64;
        let room = self.room(limit);
        let free = overdue
            .into_iter()
            .filter(|overdue| !self.0.contains_key(overdue));
        let taken: Vec<_> = free.take(room).collect();
        self.0.extend(taken.iter().map(|overdue| (*overdue, until_ms)));
        taken
    }

    fn room(&self, limit: usize) -> usize {
        limit.min(RECEIPT_LEASES.saturating_sub(self.0.len()))
    }
}

//! Which overdue receipts somebody works on, so that not everybody is given the same ones. Not kept across a restart.

use std::collections::HashMap;

use super::Overdue;
use super::clock::Now;
use crate::defaults::{RECEIPT_LEASE, RECEIPT_LEASES};

/// Until when each is somebody's, in milliseconds since 1970.
///
/// **Invariant:** at most [`RECEIPT_LEASES`].
#[derive(Default)]
pub(super) struct Leases(HashMap<Overdue, u64>);

impl Leases {
    /// How many of the longest overdue have to be looked at to find `limit` that are nobody's.
    pub(super) fn look(&mut self, limit: usize, now: Now) -> usize {
        self.0.retain(|_, until_ms| now.ms() < *until_ms);
        self.0.len() + self.room(limit)
    }

    /// Of these the first ones that are nobody's, at most `limit`.
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

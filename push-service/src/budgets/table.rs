//! A bounded table of token buckets.
//!
//! A bucket is one number: the time at which it will be full again. A bucket whose time has passed is full, and a
//! full bucket need not be remembered. So its entry can be overwritten, and no sweep is needed.
//!
//! **Invariant:** at most [`BUDGET_ENTRIES`] buckets. Each cause belongs to one set of eight entries. **If all eight are taken**, the
//! bucket that has spent the least is overwritten. Its cause has a full bucket then, as if it had spent nothing. So a new cause
//! always gets a bucket, a peer within its budget loses nothing, and the causes that have spent the most are remembered longest.
//! The set depends on a secret of the process, so no peer can choose whose bucket is overwritten.

use std::sync::{Mutex, PoisonError};

use super::Cause;
use crate::defaults::BUDGET_ENTRIES;

/// Each shard has its own lock, and no memory before it is used.
const SHARDS: usize = 256;

/// Entries in the set of a cause.
const WAYS: usize = 8;

const SETS: usize = BUDGET_ENTRIES / SHARDS / WAYS;

/// A cause, or 0; and when its bucket will be full, in nanoseconds.
type Entry = [u64; 2];

/// Buckets of one kind, all with the same rate and burst.
pub(super) struct Table {
    /// How long it takes to earn a token.
    ns_per_token: u64,
    /// How long it takes to earn a full bucket.
    burst_ns: u64,
    shards: Box<[Mutex<Vec<Entry>>]>,
}

impl Table {
    /// `None` if `per_second` is 0: no limit.
    pub(super) fn new(per_second: f64, burst: u32) -> Option<Self> {
        const NS_PER_SECOND: f64 = 1e9;
        if per_second <= 0.0 {
            return None;
        }
        let ns_per_token = ((NS_PER_SECOND / per_second) as u64).max(1);
        Some(Self {
            ns_per_token,
            burst_ns: ns_per_token.saturating_mul(u64::from(burst.max(1))),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        })
    }

    /// Takes tokens of `cause` at `now`, and returns how long it has to wait until they are earned. If that is longer
    /// than `patience`, takes none and returns `Err`.
    pub(super) fn spend(&self, cause: Cause, tokens: u32, now: u64, patience: u64) -> Result<u64, u64> {
        let cost = self.ns_per_token.saturating_mul(u64::from(tokens));
        self.with_entry(cause, now, |full_at| {
            let would_be = full_at.saturating_add(cost);
            let wait = would_be.saturating_sub(now.saturating_add(self.burst_ns));
            if wait > patience {
                return Err(wait);
            }
            *full_at = would_be;
            Ok(wait)
        })
    }

    /// Takes tokens of `cause` at `now`, also in advance, and returns how long it has to wait until they are earned.
    /// If it already has to wait for longer than `limit`, takes none and returns `Err`.
    pub(super) fn charge(&self, cause: Cause, tokens: u32, now: u64, limit: u64) -> Result<u64, u64> {
        let cost = self.ns_per_token.saturating_mul(u64::from(tokens));
        self.with_entry(cause, now, |full_at| {
            let owed = |full_at: u64| full_at.saturating_sub(now.saturating_add(self.burst_ns));
            if owed(*full_at) > limit {
                return Err(owed(*full_at));
            }
            *full_at = full_at.saturating_add(cost);
            Ok(owed(*full_at))
        })
    }

    /// Gives tokens back.
    pub(super) fn refund(&self, cause: Cause, tokens: u32, now: u64) {
        let cost = self.ns_per_token.saturating_mul(u64::from(tokens));
        self.with_entry(cause, now, |full_at| *full_at = full_at.saturating_sub(cost));
    }

    /// Lets `change` move the time at which a cause's bucket will be full. That time is not before `now`.
    fn with_entry<T>(&self, cause: Cause, now: u64, change: impl FnOnce(&mut u64) -> T) -> T {
        let bits = cause.0.get();
        let mut shard = self.shards[bits as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if shard.is_empty() {
            *shard = vec![[0; 2]; SETS * WAYS];
        }
        let set = (bits >> 32) as usize % SETS;
        let ways = &mut shard[set * WAYS..(set + 1) * WAYS];
        let at = ways.iter().position(|entry| entry[0] == bits);
        let at = at.unwrap_or_else(|| {
            let debts = ways.iter().map(|entry| entry[1]).enumerate();
            let (least, _) = debts.min_by_key(|(_, full_at)| *full_at).unwrap_or_default();
            ways[least] = [bits, 0];
            least
        });
        let full_at = &mut ways[at][1];
        *full_at = now.max(*full_at);
        change(full_at)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn cause(bits: u64) -> Cause {
        Cause(NonZeroU64::new(bits).unwrap())
    }

    fn remembered(table: &Table) -> usize {
        let shards = table.shards.iter().map(|shard| shard.lock().unwrap().len());
        shards.sum()
    }

    /// PR-42: a burst is free, then the rate counts; a cause that has to wait is told how long, and one that is
    /// refused loses no tokens.
    #[test]
    fn a_bucket_is_a_burst_and_a_rate() {
        let table = Table::new(10.0, 100).unwrap();
        let (one, other) = (cause(1), cause(2));
        assert_eq!(table.spend(one, 60, 0, 0), Ok(0));
        assert_eq!(table.spend(one, 40, 0, 0), Ok(0));
        for _ in 0..3 {
            assert_eq!(table.spend(one, 5, 0, 0), Err(SECOND / 2));
        }
        assert_eq!(table.spend(other, 100, 0, 0), Ok(0));
        assert_eq!(table.spend(one, 5, 0, SECOND), Ok(SECOND / 2));
        assert_eq!(table.spend(one, 1, SECOND / 2, 0), Err(SECOND / 10));
        assert_eq!(table.spend(one, 5, SECOND, 0), Ok(0));
        table.refund(one, 20, SECOND);
        assert_eq!(table.spend(one, 20, SECOND, 0), Ok(0));
        assert_eq!(table.spend(one, 1, SECOND, 0), Err(SECOND / 10));
        // A bucket never holds more than its burst.
        table.refund(one, 1_000, 100 * SECOND);
        assert_eq!(table.spend(one, 100, 100 * SECOND, 0), Ok(0));
        assert!(table.spend(one, 1, 100 * SECOND, 0).is_err());
    }

    /// PR-42: tokens taken in advance are bounded, so that no peer waits for ever for what another one at its address
    /// has taken.
    #[test]
    fn a_debt_is_bounded() {
        let table = Table::new(10.0, 100).unwrap();
        let one = cause(1);
        assert_eq!(table.charge(one, 150, 0, 10 * SECOND), Ok(5 * SECOND));
        assert_eq!(table.charge(one, 150, 0, 10 * SECOND), Ok(20 * SECOND));
        for _ in 0..3 {
            assert_eq!(table.charge(one, 150, 0, 10 * SECOND), Err(20 * SECOND));
        }
        assert_eq!(table.charge(one, 10, 10 * SECOND, 10 * SECOND), Ok(11 * SECOND));
    }

    /// PR-42: a flood of causes takes no memory beyond the bound, every newcomer gets a bucket, and the cause that
    /// has spent the most stays remembered.
    #[test]
    fn a_full_table_remembers_the_worst() {
        let table = Table::new(10.0, 100).unwrap();
        let worst = cause(77);
        assert!(table.spend(worst, 1_000, 0, u64::MAX).is_ok());
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..4 * BUDGET_ENTRIES {
            bits = bits.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            assert_eq!(table.spend(cause(bits.max(1)), 50, SECOND, 0), Ok(0));
        }
        assert_eq!(remembered(&table), BUDGET_ENTRIES);
        assert!(table.spend(worst, 1, SECOND, 0).is_err());
    }

    /// An unused table takes no memory.
    #[test]
    fn an_unused_table_is_empty() {
        let table = Table::new(10.0, 100).unwrap();
        assert_eq!(remembered(&table), 0);
        assert!(table.spend(cause(1), 1, 0, 0).is_ok());
        assert_eq!(remembered(&table), BUDGET_ENTRIES / SHARDS);
        assert!(Table::new(0.0, 100).is_none());
    }
}

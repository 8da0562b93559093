//! Which sessions have to be compared with storage next.
//!
//! Gaps come by bucket and the registry is walked by shard, so what is owed is a set of buckets for each shard. Whatever
//! is noted, how often and by whom, it takes this much memory and no more.

use std::sync::{Mutex, MutexGuard, PoisonError};

use push_protocol::UserAgentId;

use crate::channels::SHARDS;
use crate::storage::{BUCKETS, bucket};

const WORDS: usize = BUCKETS as usize / 64;

const _: () = assert!(SHARDS == u64::BITS as usize, "a shard has a bit in Shards::owed");

/// A set of buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Buckets([u64; WORDS]);

impl Buckets {
    pub(super) const NONE: Self = Self([0; WORDS]);
    pub(super) const ALL: Self = Self([u64::MAX; WORDS]);

    /// Ignores a number that is no bucket.
    pub(super) fn insert(&mut self, bucket: u16) {
        if let Some(word) = self.0.get_mut(usize::from(bucket / 64)) {
            *word |= 1 << (bucket % 64);
        }
    }

    pub(super) fn covers(&self, user_agent: UserAgentId) -> bool {
        let bucket = bucket(user_agent);
        self.0[usize::from(bucket / 64)] & 1 << (bucket % 64) != 0
    }

    fn add(&mut self, more: &Self) {
        for (word, more) in self.0.iter_mut().zip(more.0) {
            *word |= more;
        }
    }
}

/// What is owed to each shard.
pub(super) struct Owed(Mutex<Shards>);

struct Shards {
    buckets: [Buckets; SHARDS],
    /// A bit for each shard in which something is owed.
    owed: u64,
    /// The shard whose turn it is, so that one that is noted again and again does not delay the others.
    next: usize,
}

impl Owed {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Shards {
            buckets: [Buckets::NONE; SHARDS],
            owed: 0,
            next: 0,
        }))
    }

    /// These buckets of one shard.
    pub(super) fn note(&self, shard: usize, buckets: &Buckets) {
        self.lock().add(shard, buckets);
    }

    /// These buckets of every shard.
    pub(super) fn note_everywhere(&self, buckets: &Buckets) {
        let mut shards = self.lock();
        for shard in 0..SHARDS {
            shards.add(shard, buckets);
        }
    }

    /// The next shard to which something is owed. From now on its taker owes it.
    pub(super) fn take(&self) -> Option<(usize, Buckets)> {
        let mut shards = self.lock();
        if shards.owed == 0 {
            return None;
        }
        let ahead = shards.owed.rotate_right(shards.next as u32).trailing_zeros();
        let shard = (shards.next + ahead as usize) % SHARDS;
        shards.owed &= !(1 << shard);
        shards.next = (shard + 1) % SHARDS;
        Some((
            shard,
            std::mem::replace(&mut shards.buckets[shard], Buckets::NONE),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, Shards> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shards {
    fn add(&mut self, shard: usize, buckets: &Buckets) {
        self.buckets[shard].add(buckets);
        if self.buckets[shard] != Buckets::NONE {
            self.owed |= 1 << shard;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_agent(first: u8, second: u8) -> UserAgentId {
        let mut id = [7; 16];
        (id[0], id[1]) = (first, second);
        UserAgentId(id)
    }

    /// PR-13, PR-14: a user agent's bucket is the first ten bits of its id; a bucket that does not exist covers no user agent.
    #[test]
    fn a_set_of_buckets() {
        let mut buckets = Buckets::NONE;
        for bucket in [0, 65, 1_023, 1_024, u16::MAX] {
            buckets.insert(bucket);
        }
        for (first, second, covered) in [
            (0x00, 0x3f, true),
            (0x00, 0x40, false),
            (0x10, 0x40, true),
            (0xff, 0xff, true),
            (0xff, 0xbf, false),
        ] {
            assert_eq!(
                buckets.covers(user_agent(first, second)),
                covered,
                "{first:x} {second:x}"
            );
        }
        assert!(Buckets::ALL.covers(user_agent(0x12, 0x34)));
    }

    /// PR-14: what is noted again is owed once, each shard has its turn, and what was taken is owed no more.
    #[test]
    fn each_shard_has_its_turn() {
        let owed = Owed::new();
        let mut some = Buckets::NONE;
        some.insert(3);
        owed.note(5, &some);
        owed.note(5, &some);
        assert_eq!(owed.take(), Some((5, some)));
        assert_eq!(owed.take(), None);
        owed.note(5, &some);
        owed.note(6, &Buckets::ALL);
        assert_eq!(owed.take(), Some((6, Buckets::ALL)), "5 had its turn");
        assert_eq!(owed.take(), Some((5, some)));
        owed.note_everywhere(&some);
        let shards: Vec<_> = std::iter::from_fn(|| owed.take())
            .map(|(shard, _)| shard)
            .collect();
        assert_eq!(shards.len(), SHARDS);
    }
}

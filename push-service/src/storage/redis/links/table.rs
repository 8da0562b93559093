//! Which primary has which bucket, as of one moment.

use std::collections::HashMap;
use std::sync::Arc;

use super::primary::Primary;
use crate::storage::BUCKETS;
use crate::storage::redis::bucket::Bucket;
use crate::storage::redis::url::Address;

/// Which primary has which bucket, as of one moment.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) primaries: Vec<Arc<Primary>>,
    /// For each bucket its place in `primaries`; [`NO_PRIMARY`] where a cluster has a hole.
    of: Arc<[u16]>,
}

/// No primary.
const NO_PRIMARY: u16 = u16::MAX;

impl Table {
    /// No bucket has a primary.
    pub(super) fn empty() -> Self {
        Self {
            primaries: Vec::new(),
            of: vec![NO_PRIMARY; usize::from(BUCKETS)].into(),
        }
    }

    /// The primary of a bucket.
    pub(super) fn primary(&self, bucket: Bucket) -> Option<&Arc<Primary>> {
        self.primaries.get(usize::from(self.of[bucket.index()]))
    }

    /// The buckets of a primary.
    pub(super) fn buckets_of(&self, primary: &Primary) -> Vec<Bucket> {
        let of = |bucket: &Bucket| self.primary(*bucket).is_some_and(|of| of.id == primary.id);
        Bucket::all().filter(of).collect()
    }

    /// The first bucket without a primary.
    pub(super) fn hole(&self) -> Option<Bucket> {
        Bucket::all().find(|bucket| self.primary(*bucket).is_none())
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        let ids = |of: &Self| of.primaries.iter().map(|primary| primary.id).collect::<Vec<_>>();
        self.of == other.of && ids(self) == ids(other)
    }

    /// The table of these owners. `primary` finds or makes the primary at an address; it is called once for each.
    pub(super) fn of(owners: &Owners, mut primary: impl FnMut(&Address) -> Arc<Primary>) -> Self {
        let mut primaries: Vec<Arc<Primary>> = Vec::new();
        let mut places: HashMap<&Address, u16> = HashMap::new();
        let mut place = |address| {
            *places.entry(address).or_insert_with(|| {
                primaries.push(primary(address));
                u16::try_from(primaries.len() - 1).unwrap_or(NO_PRIMARY)
            })
        };
        let of = Bucket::all().map(|bucket| owners.address_of(bucket).map_or(NO_PRIMARY, &mut place));
        let of = of.collect();
        Self { primaries, of }
    }
}

/// Which servers have which slots, by their addresses.
pub(super) enum Owners {
    /// One server has all.
    One(Address),
    /// First and last slot, and who has them.
    Ranges(Vec<(u16, u16, Address)>),
}

impl Owners {
    fn address_of(&self, bucket: Bucket) -> Option<&Address> {
        match self {
            Self::One(address) => Some(address),
            Self::Ranges(ranges) => {
                let slot = bucket.slot();
                let has = |range: &&(u16, u16, Address)| (range.0..=range.1).contains(&slot);
                ranges.iter().find(has).map(|(_, _, address)| address)
            }
        }
    }
}

//! Who is primary of which bucket, and how that is kept up to date.
//!
//! One task asks: every few seconds, and at once when somebody met a sign that the table is old, but not more often than
//! [`REDIS_REFRESH_APART`]. However many ask for it, one refresh answers them all.
//!
//! **Invariant:** a primary at another address, or one that was deposed, is another [`Primary`] with connections of its
//! own: nothing that was connected to the old one is used for the new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::buckets::Bucket;
use super::confirmed::Confirmation;
use super::discovery::Discovery;
use super::link::Door;
use super::primary::Primary;
use crate::defaults::{REDIS_REFRESH_APART, REDIS_STRANGERS, REDIS_WATCH_EVERY};
use crate::storage::BUCKETS;
use crate::storage::redis::url::Address;

/// Which primary has which bucket, as of one moment.
#[derive(Clone)]
pub(super) struct Topology {
    pub(super) primaries: Vec<Arc<Primary>>,
    /// For each bucket its place in `primaries`; [`NOBODY`] where a cluster has a hole.
    table: Arc<[u16]>,
}

/// No primary.
const NOBODY: u16 = u16::MAX;

impl Topology {
    /// Nobody has anything.
    pub(super) fn empty() -> Self {
        Self {
            primaries: Vec::new(),
            table: vec![NOBODY; usize::from(BUCKETS)].into(),
        }
    }

    /// The primary of a bucket.
    pub(super) fn primary(&self, bucket: Bucket) -> Option<&Arc<Primary>> {
        self.primaries.get(usize::from(self.table[bucket.index()]))
    }

    /// The buckets of a primary.
    pub(super) fn buckets_of(&self, primary: &Primary) -> Vec<Bucket> {
        let of = |bucket: &Bucket| self.primary(*bucket).is_some_and(|of| of.id == primary.id);
        Bucket::all().filter(of).collect()
    }

    /// The first bucket that nobody has.
    pub(super) fn hole(&self) -> Option<Bucket> {
        Bucket::all().find(|bucket| self.primary(*bucket).is_none())
    }

    fn is(&self, other: &Self) -> bool {
        let ids = |of: &Self| of.primaries.iter().map(|primary| primary.id).collect::<Vec<_>>();
        self.table == other.table && ids(self) == ids(other)
    }
}

/// The table, for all who need it, and the way to have it looked at again.
pub(super) struct Map {
    door: Arc<Door>,
    confirmation: Option<Confirmation>,
    current: watch::Sender<Topology>,
    wanted: Notify,
    /// Servers that a redirection named and that have no bucket: a member of a cluster that is just being given some.
    strangers: Mutex<Vec<Arc<Primary>>>,
}

impl Map {
    /// An empty one.
    pub(super) fn new(door: Arc<Door>, confirmation: Option<Confirmation>) -> Self {
        Self {
            door,
            confirmation,
            current: watch::Sender::new(Topology::empty()),
            wanted: Notify::new(),
            strangers: Mutex::new(Vec::new()),
        }
    }

    /// The primary of a bucket, as far as is known.
    pub(super) fn primary(&self, bucket: Bucket) -> Option<Arc<Primary>> {
        self.current.borrow().primary(bucket).map(Arc::clone)
    }

    /// The table as it is.
    pub(super) fn now(&self) -> Topology {
        self.current.borrow().clone()
    }

    /// Tells of changes.
    pub(super) fn changes(&self) -> watch::Receiver<Topology> {
        self.current.subscribe()
    }

    /// Asks for a look. Returns at once.
    pub(super) fn refresh(&self) {
        self.wanted.notify_one();
    }

    /// The server at an address that a redirection named.
    pub(super) fn at(&self, address: &Address) -> Arc<Primary> {
        let topology = self.current.borrow();
        let is_there = |primary: &&Arc<Primary>| primary.address == *address && !primary.is_deposed();
        if let Some(known) = topology.primaries.iter().find(is_there) {
            return Arc::clone(known);
        }
        drop(topology);
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = strangers.iter().find(is_there) {
            return Arc::clone(known);
        }
        if strangers.len() == REDIS_STRANGERS {
            strangers.remove(0);
        }
        let stranger = self.new_primary(address);
        strangers.push(Arc::clone(&stranger));
        stranger
    }

    /// Looks again and again. Runs until it is dropped.
    pub(super) async fn watch(&self, mut discovery: Discovery) {
        let mut in_trouble = false;
        loop {
            let looked = Instant::now();
            let found = self.look(&mut discovery).await;
            match &found {
                Err(why) if !in_trouble => {
                    tracing::warn!(%why, "cannot ask which server is the primary in Redis; the last known one is used")
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
    /// Why nobody tells who is primary. The table stays as it was.
    pub(super) async fn look(&self, discovery: &mut Discovery) -> Result<(), String> {
        let before = self.now();
        let found = discovery.look(&before, &self.door).await?;
        let topology = self.assemble(&before, &found);
        if !topology.is(&before) {
            self.current.send_replace(topology);
        }
        Ok(())
    }

    /// Makes a table of addresses one of primaries, keeping those that are there.
    fn assemble(&self, before: &Topology, found: &Found) -> Topology {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut primaries: Vec<Arc<Primary>> = Vec::new();
        let mut places: HashMap<&Address, u16> = HashMap::new();
        let mut table = Vec::with_capacity(usize::from(BUCKETS));
        for bucket in Bucket::all() {
            let Some(address) = found.address_of(bucket) else {
                table.push(NOBODY);
                continue;
            };
            let place = *places.entry(address).or_insert_with(|| {
                let known = before.primaries.iter().chain(strangers.iter());
                let known = known.filter(|primary| primary.address == *address && !primary.is_deposed());
                let known = known.map(Arc::clone).next();
                primaries.push(known.unwrap_or_else(|| self.new_primary(address)));
                u16::try_from(primaries.len() - 1).unwrap_or(NOBODY)
            });
            table.push(place);
        }
        strangers.retain(|one| !one.is_deposed() && !primaries.iter().any(|primary| primary.id == one.id));
        Topology {
            primaries,
            table: table.into(),
        }
    }

    fn new_primary(&self, address: &Address) -> Arc<Primary> {
        Primary::new(address.clone(), Arc::clone(&self.door), self.confirmation)
    }
}

/// What a look found: who has which slots.
pub(super) enum Found {
    /// One server has all.
    One(Address),
    /// First and last slot, and who has them.
    Ranges(Vec<(u16, u16, Address)>),
}

impl Found {
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

//! The connections to Redis: which server has which bucket, one connection per server and kind of work, and what happens
//! to a step when servers move, fail, or fall silent.
//!
//! ```text
//!   run(work, bucket, script)              listen()                  look()
//!        │                                    │                        │
//!        ▼                                    ▼                        ▼
//!   map: bucket ─► primary ◄── discovery: one server, sentinels, cluster
//!        │
//!        ├─ steps:     one pipelined connection
//!        ├─ pages:     another, so that much to read delays no small step (PR-34)
//!        └─ confirmed: a third, where WAIT counts for what went before it (PR-33)
//! ```
//!
//! Guarantees:
//!
//! - A step is sent again only on an answer that proves that it did not run, or if its script says that twice is as good
//!   as once (PR-32). The driver repeats nothing.
//! - No step waits longer than [`REDIS_STEP_WITHIN`](crate::defaults::REDIS_STEP_WITHIN), and not at all when its primary
//!   is known to be silent.
//! - "Not there" is confirmed like a 201, or its primary has since proved to be one (PR-40).
//! - At most [`REDIS_STEPS_UNDER_WAY`](crate::defaults::REDIS_STEPS_UNDER_WAY) steps are under way; one more is refused.
//! - Errors hold no key, no argument, and no password.
//!
//! What it deliberately does not know: what a step does, and what is in keys, messages and answers.

mod circuit;
mod confirmed;
mod discovery;
mod failure;
mod inspection;
mod link;
mod listen;
mod look;
mod map;
mod moving_slot;
mod pipeline;
mod primary;
mod proof;
mod reply;
mod run;
mod script;
mod start;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::AbortOnDropHandle;

use self::inspection::Inspector;
pub(in crate::storage::redis) use self::listen::ChannelHandler;
use self::listen::HeardBuckets;
use self::look::Health;
use self::map::Map;
pub(in crate::storage::redis) use self::primary::Work;
pub(in crate::storage::redis) use self::proof::AskedPrimary;
use self::proof::Assurance;
pub(in crate::storage::redis) use self::script::{Repeat, Script};
pub(in crate::storage::redis) use self::start::Patience;
use super::bucket::Bucket;
use super::replicas::WaitReplicas;
use crate::storage::StorageError;

/// What the configuration says beside the URL.
#[derive(Clone, Default, Debug)]
pub(in crate::storage::redis) struct Options {
    /// How many replicas must have what goes over [`Work::Confirmed`].
    pub(in crate::storage::redis) wait_replicas: WaitReplicas,
    /// With `all`: how long a replica that disconnected still counts.
    pub(in crate::storage::redis) replica_missed_for: Duration,
    /// Whether it must be on the disk of the primary (and of those replicas).
    pub(in crate::storage::redis) wait_aof: bool,
    /// Authorities that are trusted instead of the machine's: a PEM file.
    pub(in crate::storage::redis) ca: Option<PathBuf>,
    /// What the names of all keys begin with: the user of the service may have a right to no others.
    pub(in crate::storage::redis) prefix: String,
}

/// The primaries of a store, and the connections to them. All of them close when it is dropped.
pub(in crate::storage::redis) struct Primaries {
    map: Arc<Map>,
    /// One for each step that may be under way.
    permits: Semaphore,
    /// Which buckets are heard.
    heard_buckets: Arc<HeardBuckets>,
    /// How the primaries are.
    health: Mutex<Health>,
    /// How many replicas are waited for.
    wait_replicas: WaitReplicas,
    /// Finds what is less safe than it may look.
    inspector: Inspector,
    /// What has to happen before "unknown" is answered.
    assurance: Assurance,
    /// Keeps `map` up to date.
    _watch: AbortOnDropHandle<()>,
}

impl Primaries {
    /// The lowest bucket of each primary, in order: what is asked of these is asked of every server once.
    pub(in crate::storage::redis) fn first_buckets(&self) -> Vec<Bucket> {
        let table = self.map.now();
        let first = |primary: &_| table.buckets_of(primary).first().copied();
        let mut firsts: Vec<_> = table
            .primaries
            .iter()
            .filter_map(|primary| first(primary))
            .collect();
        firsts.sort_unstable();
        firsts
    }

    /// Permission for one step.
    fn permit(&self) -> Result<SemaphorePermit<'_>, StorageError> {
        self.permits.try_acquire().map_err(|_| {
            StorageError::Unavailable("Redis is too slow: too many steps wait for it".to_owned())
        })
    }
}

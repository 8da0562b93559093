//! Parts of the store whose primary has changed or returned lately (PR-14).
//!
//! A deposed primary may have told sessions of messages that the new one never had. Then their cursors are ahead of messages
//! that the new one has accepted meanwhile. A session that reads on from its cursor would miss these until its next attach.
//! So for a while, each session with waiting messages reads its queue from the start.
//!
//! It deliberately does not know who compares sessions, or how a primary is found.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use crate::storage::BUCKETS;
use crate::storage::clock::millis;

/// Until when each bucket is doubtful.
pub(super) struct Doubts {
    /// How long doubts last.
    last: Duration,
    start: Instant,
    /// In milliseconds since `start`.
    until_ms: Box<[AtomicU64]>,
}

impl Doubts {
    /// Nothing is doubtful. Doubts last for `last`: by then each session has to have been compared.
    pub(super) fn new(last: Duration) -> Self {
        Self {
            last,
            start: Instant::now(),
            until_ms: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The primary of these buckets has returned or changed.
    pub(super) fn note(&self, buckets: &[Bucket]) {
        let until_ms = self.ms() + millis(self.last);
        for bucket in buckets {
            self.until_ms[bucket.index()].store(until_ms, Ordering::Relaxed);
        }
    }

    /// Whether sessions may be ahead of what this bucket holds.
    pub(super) fn covers(&self, bucket: Bucket) -> bool {
        self.ms() < self.until_ms[bucket.index()].load(Ordering::Relaxed)
    }

    fn ms(&self) -> u64 {
        millis(self.start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-14: a bucket is doubtful after its primary has returned, and no other bucket is.
    #[test]
    fn a_primary_that_returns_is_doubted() {
        let doubts = Doubts::new(Duration::from_secs(60));
        let (one, other) = (Bucket::new(3), Bucket::new(4));
        assert!(!doubts.covers(one));
        doubts.note(&[one]);
        assert!(doubts.covers(one) && !doubts.covers(other));
    }
}

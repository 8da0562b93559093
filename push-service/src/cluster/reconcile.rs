//! Sessions compared with storage: each once in a period, and at once where wake-ups may have been lost (PR-14).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::owed::{Buckets, Owed};
use crate::broker::Broker;
use crate::channels::{Registry, SHARDS, Seated};
use crate::defaults::{
    CHANNEL_TICK, PAUSE_NOTICED, RECONCILE_BATCH, RECONCILE_PER_SECOND, STORAGE_RETRY_AFTER,
};
use crate::metrics::Compared;
use crate::storage::clock::{Clock, SystemClock};
use crate::storage::{Refreshed, bucket};

/// Compares the sessions of a node with the storage that it shares. Storage tells it of wake-ups and of gaps.
///
/// **Invariant:** a session is owed a comparison from a gap, or its turn in the period, until storage has answered one
/// that was asked later.
pub struct Reconciler {
    registry: Arc<Registry>,
    every: Duration,
    /// Asked only how long the machine slept.
    clock: Arc<dyn Clock>,
    owed: Owed,
    /// What met trouble in one part of the storage, and is owed again soon: the others don't wait for it.
    troubled: Owed,
    noted: Notify,
}

impl Reconciler {
    /// Compares each session once in `every`, when it runs.
    pub fn new(registry: Arc<Registry>, every: Duration) -> Arc<Self> {
        Self::with_clock(registry, every, Arc::new(SystemClock))
    }

    /// The same, with a given wall clock instead of the machine's.
    pub fn with_clock(registry: Arc<Registry>, every: Duration, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            registry,
            every,
            clock,
            owed: Owed::new(),
            troubled: Owed::new(),
            noted: Notify::new(),
        })
    }

    /// Compares for as long as it's polled. Once dropped, a comparison that was under way may have taken a free seat for
    /// a session that has ended, as a crash leaves one.
    pub async fn run(&self, broker: &Broker) {
        tokio::join!(
            self.keep_period(),
            self.watch_for_pauses(),
            self.owe_troubled_again(),
            self.pay_what_is_owed(broker)
        );
    }

    /// One shard after the other is owed a comparison, spread evenly over the period.
    async fn keep_period(&self) {
        let each = self.every / SHARDS as u32;
        let mut turns = interval_at(Instant::now() + each, each);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for shard in (0..SHARDS).cycle() {
            turns.tick().await;
            self.owed.note(shard, &Buckets::ALL);
            self.noted.notify_one();
        }
    }

    /// A process that stood still may have lost its subscriptions to wake-ups. Looks at two clocks: one of them
    /// stands still too while the machine sleeps.
    async fn watch_for_pauses(&self) {
        let mut heartbeat = tokio::time::interval(CHANNEL_TICK);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = || (Instant::now(), self.clock.now_us());
        let mut last = now();
        loop {
            heartbeat.tick().await;
            let now = now();
            let slept = Duration::from_micros(now.1.saturating_sub(last.1));
            if slept.max(now.0 - last.0) > CHANNEL_TICK + PAUSE_NOTICED {
                tracing::warn!(
                    "this process was paused: it compares every session with storage, in case wake-ups were \
                     lost"
                );
                self.note_gap(&Buckets::ALL);
            }
            last = now;
        }
    }

    async fn owe_troubled_again(&self) {
        loop {
            sleep(STORAGE_RETRY_AFTER).await;
            while let Some((shard, buckets)) = self.troubled.take() {
                self.owed.note(shard, &buckets);
                self.noted.notify_one();
            }
        }
    }

    async fn pay_what_is_owed(&self, broker: &Broker) {
        loop {
            match self.owed.take() {
                Some((shard, buckets)) => self.compare(broker, shard, &buckets).await,
                None => self.noted.notified().await,
            }
        }
    }

    /// Compares the sessions of one shard that are in these buckets.
    async fn compare(&self, broker: &Broker, shard: usize, buckets: &Buckets) {
        let sessions = self
            .registry
            .seated(shard, |user_agent| buckets.covers(user_agent));
        let mut left = sessions.as_slice();
        while !left.is_empty() {
            let (batch, rest) = left.split_at(left.len().min(RECONCILE_BATCH));
            let next = Instant::now() + self.pace(batch.len());
            let held: Vec<_> = batch
                .iter()
                .map(|session| (session.user_agent, session.seat))
                .collect();
            match broker.refresh(&held).await {
                Ok(refreshed) => self.tell(broker, shard, batch, &refreshed).await,
                Err(_) => {
                    // The rest would meet the same trouble: all of it is owed still.
                    self.owe(shard, left);
                    return sleep(STORAGE_RETRY_AFTER).await;
                }
            }
            left = rest;
            sleep_until(next).await;
        }
    }

    /// How long a batch should take: a node with so many sessions that the period would be missed hurries.
    fn pace(&self, sessions: usize) -> Duration {
        let needed = 2.0 * self.registry.count() as f64 / self.every.as_secs_f64();
        Duration::from_secs_f64(sessions as f64 / needed.max(RECONCILE_PER_SECOND.into()))
    }

    async fn tell(&self, broker: &Broker, shard: usize, batch: &[Seated], refreshed: &[Refreshed]) {
        for (session, refreshed) in batch.iter().zip(refreshed) {
            let compared = self.registry.compared(session, *refreshed);
            broker.metrics().compared(compared);
            // Storage gave it the seat that it had given up.
            if compared == Compared::Gone && matches!(refreshed, Refreshed::Held { .. }) {
                broker.release(session.user_agent, session.seat).await;
            }
            if compared == Compared::Trouble {
                let mut buckets = Buckets::NONE;
                buckets.insert(bucket(session.user_agent));
                self.troubled.note(shard, &buckets);
            }
        }
    }

    fn owe(&self, shard: usize, sessions: &[Seated]) {
        let mut buckets = Buckets::NONE;
        for session in sessions {
            buckets.insert(bucket(session.user_agent));
        }
        self.owed.note(shard, &buckets);
    }

    /// Wake-ups of user agents in these buckets may have been lost: their sessions are compared soon.
    pub fn gap(&self, buckets: &[u16]) {
        let mut gap = Buckets::NONE;
        for bucket in buckets {
            gap.insert(*bucket);
        }
        self.note_gap(&gap);
    }

    /// The sessions of this node.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    fn note_gap(&self, buckets: &Buckets) {
        self.owed.note_everywhere(buckets);
        self.noted.notify_one();
    }
}

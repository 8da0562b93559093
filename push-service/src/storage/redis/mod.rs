//! Storage in Redis: nodes that share nothing else are one service.
//!
//! Each step is one script that runs inside Redis, on keys of one hash slot, in one round trip (PR-31). So any node takes
//! any request, and a node that is killed takes nothing with it. The rules are those of `queue`, written in Lua: the
//! contract suite tests both with the same cases.
//!
//! ```text
//!   step ──► links: the primary of the user agent's bucket ──► script: decides, writes, publishes
//!                                                                │ answer        │ wake-up, if the seat is another node's
//!              the seat is ours: announce ◄──────────────────────┘               ▼
//!              wake_ups: announce ◄─────────────────────────── sharded pub/sub of the node that has it
//! ```
//!
//! How durable a 201 is depends on Redis's persistence and replication, and on `storage.redis.wait_replicas` (PR-33). Time is
//! Redis's (PR-30). If the node's clock is more than an hour away from it, steps are refused, so that no message or subscription
//! ends by a wrong clock. Every key expires, so an abandoned user agent is removed without a sweep (PR-29).

mod absent;
mod announcing;
mod answers;
mod bucket;
mod counted;
mod doubts;
mod due;
mod export;
mod founding;
mod import;
mod keys;
mod layout;
mod layout_names;
mod links;
mod packed;
mod portable;
mod presence;
mod receipts;
mod record;
mod refresh;
mod replicas;
mod runner;
mod scripts;
mod senders;
mod steps;
#[cfg(test)]
mod tests;
pub mod url;
mod wake_ups;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::bucket::Bucket;
use self::doubts::Doubts;
use self::due::Due;
pub use self::founding::Found;
use self::links::{ChannelHandler as _, Patience, Primaries, Work};
use self::presence::Presence;
use self::receipts::NextBuckets;
pub use self::replicas::WaitReplicas;
use self::runner::Runner;
use self::scripts::Scripts;
use self::senders::Senders;
use self::url::RedisUrl;
use self::wake_ups::WakeUpHandler;
use super::clock::{Clock, SystemClock, millis};
use super::{Announce, Retention, StorageError};
use crate::defaults::{
    CLUSTER_INLINE_BYTES, REDIS_DOUBTED_FOR, REDIS_PREFIX, REDIS_REPLICA_MISSED_FOR, REDIS_START_WITHIN,
    RETENTION,
};
use crate::tasks::{Background, PanicAlarm, Task};

/// Is told what the start waits for: a sentence's end, without secrets.
pub type WaitsFor = Arc<dyn Fn(&str) + Send + Sync>;

/// How a store in Redis is opened.
pub struct Options {
    /// Where it is.
    pub url: RedisUrl,
    /// How many replicas must have what a step confirms (PR-33, PR-41).
    pub wait_replicas: WaitReplicas,
    /// Whether it must be on the primary's disk, and on theirs.
    pub wait_aof: bool,
    /// Authorities that are trusted instead of the machine's: a PEM file.
    pub ca: Option<PathBuf>,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// How long to wait for a Redis that can't be used yet.
    pub start_within: Duration,
    /// Told what is waited for meanwhile, whenever that changes.
    pub waits_for: Option<WaitsFor>,
    /// Tells sessions.
    pub announce: Arc<dyn Announce>,
    /// The half of this process's seats that is the same for all of them.
    pub incarnation: u64,
    /// How long an abandoned record is kept (PR-29).
    pub retention: Retention,
    /// For how long after a primary has changed or returned, sessions with waiting messages read their queues from the
    /// start (PR-14): long enough to compare every session with the new primary.
    pub doubted_for: Duration,
    /// Bodies up to this size travel in wake-ups, larger ones are read (PR-13).
    pub inline_bytes: u32,
    /// The time of each step, instead of Redis's own: for tests.
    pub clock: Option<Arc<dyn Clock>>,
    /// The node's clock: a step is refused while Redis's clock is too far from it.
    pub own_clock: Arc<dyn Clock>,
}

impl Options {
    /// The store at `url` as it is found by default.
    pub fn new(url: RedisUrl, announce: Arc<dyn Announce>) -> Self {
        let incarnation = announce.incarnation();
        Self {
            url,
            wait_replicas: WaitReplicas::default(),
            wait_aof: false,
            ca: None,
            prefix: REDIS_PREFIX.to_owned(),
            start_within: REDIS_START_WITHIN,
            waits_for: None,
            announce,
            incarnation,
            retention: RETENTION.into(),
            doubted_for: REDIS_DOUBTED_FOR,
            inline_bytes: CLUSTER_INLINE_BYTES as u32,
            clock: None,
            own_clock: Arc::new(SystemClock),
        }
    }

    async fn connect(&self, alarm: &PanicAlarm) -> Result<Primaries, StorageError> {
        let options = links::Options {
            wait_replicas: self.wait_replicas,
            replica_missed_for: REDIS_REPLICA_MISSED_FOR,
            wait_aof: self.wait_aof,
            ca: self.ca.clone(),
            prefix: self.prefix.clone(),
        };
        let patience = Patience {
            within: self.start_within,
            waits_for: self.waits_for.clone(),
        };
        Primaries::connect(&self.url, &options, patience, alarm).await
    }
}

/// Queues and subscriptions in Redis.
pub struct Redis {
    runner: Arc<Runner>,
    scripts: Scripts,
    announce: Arc<dyn Announce>,
    incarnation: u64,
    retention: Retention,
    inline_bytes: u32,
    /// The connection for steps that have to be confirmed: [`Work::Confirmed`] if replicas or the disk are waited for.
    confirmed: Work,
    due: Due,
    doubts: Arc<Doubts>,
    next_buckets: NextBuckets,
    presence: Arc<Presence>,
    senders: Arc<Senders>,
    background: Background,
}

impl Redis {
    /// Connects, makes a store if Redis holds none, and begins to listen for wake-ups.
    ///
    /// Dropped, it may leave a store half made; the next node that opens it finishes it.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: Redis does not answer, is too old, may evict keys, or holds a newer store.
    pub async fn open(options: Options) -> Result<Self, StorageError> {
        let waits = options.wait_replicas.is_any() || options.wait_aof;
        let confirmed = if waits { Work::Confirmed } else { Work::Step };
        let background = Background::new();
        let primaries = Arc::new(options.connect(background.alarm()).await?);
        match founding::found(&primaries, &options.prefix).await? {
            Found::Nothing => tracing::info!("Redis held no store: made a new one"),
            Found::Store => {}
            Found::PartLost(buckets) => tracing::error!(
                buckets,
                "Redis came back without its data: part of the store has lost its mark. Requests for this \
                 part get 503 until the data is back. If it is lost for good, run `push-service storage \
                 begin-anew`"
            ),
        }
        let runner = Runner {
            primaries,
            prefix: options.prefix,
            incarnation: options.incarnation,
            clock: options.clock,
            own_clock: options.own_clock,
        };
        let redis = Self {
            runner: Arc::new(runner),
            presence: Arc::new(Presence::new(options.incarnation)),
            senders: Arc::new(Senders::new()),
            scripts: Scripts::new(),
            announce: options.announce,
            incarnation: options.incarnation,
            retention: options.retention,
            inline_bytes: options.inline_bytes,
            confirmed,
            due: Due::default(),
            doubts: Arc::new(Doubts::new(options.doubted_for)),
            next_buckets: NextBuckets::default(),
            background,
        };
        redis.start();
        Ok(redis)
    }

    /// Looks whether a store can be opened with these sealing keys, and changes nothing. Answers warnings, a sentence each.
    ///
    /// # Errors
    ///
    /// As [`Redis::open`]; also if part of the store has lost its data, or the list lacks the key in use.
    pub async fn inspect(options: &Options, fingerprints: &[[u8; 8]]) -> Result<Vec<String>, StorageError> {
        let primaries = options.connect(&PanicAlarm::default()).await?;
        if let Found::PartLost(buckets) = founding::look(&primaries, &options.prefix).await? {
            return Err(StorageError::Unavailable(format!(
                "{buckets} of the 1,024 parts of the store in Redis have lost their data: bring it back, or give it up \
                 with `push-service storage begin-anew`"
            )));
        }
        founding::check_sealing_keys(&primaries, &options.prefix, fingerprints).await?;
        Ok(primaries.warnings())
    }

    /// Gives up what was lost: sets the marks that are missing, and says how many of the 1,024.
    ///
    /// Dropped, it may have set some of them; repeated, it sets the rest.
    ///
    /// # Errors
    ///
    /// If Redis does not answer.
    pub async fn begin_anew(options: &Options) -> Result<usize, StorageError> {
        // A panic of one of its tasks ends this command alone.
        let primaries = options.connect(&PanicAlarm::default()).await?;
        founding::begin_anew(&primaries, &options.prefix).await
    }

    /// Starts what runs beside the steps.
    fn start(&self) {
        let handler = Arc::new(WakeUpHandler {
            announce: Arc::clone(&self.announce),
            incarnation: self.incarnation,
        });
        let background = &self.background;
        let (runner, wake_ups) = (Arc::clone(&self.runner), Arc::clone(&handler));
        background.spawn(Task::RedisWakeUps, async move {
            let channel = |bucket| keys::channel(&runner.prefix, bucket, runner.incarnation).into_bytes();
            runner.primaries.listen(channel, wake_ups).await;
        });
        let (runner, presence) = (Arc::clone(&self.runner), Arc::clone(&self.presence));
        background.spawn(Task::RedisPresence, async move { presence.keep(&runner).await });
        let (runner, senders) = (Arc::clone(&self.runner), Arc::clone(&self.senders));
        background.spawn(Task::RedisSenders, async move { senders.keep(&runner).await });
        let runner = Arc::clone(&self.runner);
        let doubts = Arc::clone(&self.doubts);
        background.spawn(Task::RedisReturn, async move {
            let mark = |bucket| keys::mark(&runner.prefix, bucket).into_bytes();
            let on_return = move |buckets: &[Bucket]| {
                // Before the sessions are compared.
                doubts.note(buckets);
                handler.gap(buckets);
            };
            runner.primaries.look(mark, on_return).await;
        });
    }

    /// Ends what runs beside the steps.
    async fn end(&self) {
        self.presence.leave(&self.runner).await;
        self.senders.leave(&self.runner).await;
        self.background.end().await;
    }

    fn retention_ms(&self) -> u64 {
        millis(self.retention.whole)
    }
}

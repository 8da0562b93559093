//! Hearing the wake-ups of all buckets (PR-13), and knowing what may have been missed (PR-14).
//!
//! Each primary has one connection that subscribes to the channels of its buckets. A bucket that goes unheard for any
//! reason (the connection ended or went silent, the server withdrew the subscription because the bucket moves, another
//! server became primary) is subscribed to again where it lives now, and only then reported. A session that looks into
//! storage after the report misses nothing that comes later.
//!
//! What it deliberately does not know: what a message says, and which sessions there are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, PushInfo, PushKind, Value};
use tokio::select;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::Primaries;
use super::link::said;
use super::map::Map;
use super::primary::Primary;
use super::reply::explained;
use crate::defaults::{
    REDIS_ANSWER_WITHIN, REDIS_PAUSE_FIRST, REDIS_PAUSE_LONGEST, REDIS_PING_EVERY, REDIS_SUBSCRIBE_BATCH,
};
use crate::storage::BUCKETS;
use crate::storage::redis::bucket::Bucket;

/// Who is told. Called where messages are read: must return at once.
pub(in crate::storage::redis) trait ChannelHandler: Send + Sync + 'static {
    /// A message came on the channel of a bucket.
    fn message(&self, bucket: Bucket, payload: &[u8]);

    /// Messages of these buckets may have been missed. They are subscribed to again (or for the first time).
    fn gap(&self, buckets: &[Bucket]);
}

impl Primaries {
    /// Subscribes to the channel of every bucket, and hands on what comes. Runs until it is dropped; one at a time.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes its connections.
    pub(in crate::storage::redis) async fn listen(
        &self,
        channels: impl Fn(Bucket) -> Vec<u8> + Send + Sync,
        handler: Arc<dyn ChannelHandler>,
    ) {
        let _deaf_afterwards = Clear::all_of(&self.heard_buckets);
        let mut changes = self.map.changes();
        let mut listeners: HashMap<u64, oneshot::Sender<()>> = HashMap::new();
        let mut running = FuturesUnordered::new();
        loop {
            let table = changes.borrow_and_update().clone();
            // A listener goes with its primary: dropping the sender ends it.
            listeners.retain(|id, _| table.primaries.iter().any(|primary| primary.id == *id));
            for primary in &table.primaries {
                listeners.entry(primary.id).or_insert_with(|| {
                    let (keep, ended) = oneshot::channel::<()>();
                    let listener = Listener {
                        map: &self.map,
                        heard_buckets: &self.heard_buckets,
                        primary: Arc::clone(primary),
                        channels: &channels,
                        handler: &handler,
                    };
                    running.push(async move {
                        select! {
                            () = listener.run() => {}
                            _ = ended => {}
                        }
                        listener.heard_buckets.lose(&listener.primary);
                    });
                    keep
                });
            }
            select! {
                changed = changes.changed() => if changed.is_err() { return },
                Some(()) = running.next() => {}
            }
        }
    }

    /// Whether every bucket is subscribed to right now: without that a node is not ready.
    pub(in crate::storage::redis) fn subscribed(&self) -> bool {
        self.heard_buckets.deaf().is_none()
    }
}

/// By which primary's connection each bucket is heard.
pub(super) struct HeardBuckets {
    heard: Mutex<Vec<Option<u64>>>,
}

impl HeardBuckets {
    /// Nothing is heard.
    pub(super) fn new() -> Self {
        Self {
            heard: Mutex::new(vec![None; usize::from(BUCKETS)]),
        }
    }

    /// The first bucket that is not heard.
    fn deaf(&self) -> Option<Bucket> {
        let heard = self.lock();
        Bucket::all().find(|bucket| heard[bucket.index()].is_none())
    }

    /// Those of `buckets` that are not heard by this primary's connection.
    fn missing(&self, buckets: Vec<Bucket>, primary: &Primary) -> Vec<Bucket> {
        let heard = self.lock();
        let missing = |bucket: &Bucket| heard[bucket.index()] != Some(primary.id);
        buckets.into_iter().filter(missing).collect()
    }

    fn gain(&self, buckets: &[Bucket], primary: &Primary) {
        let mut heard = self.lock();
        for bucket in buckets {
            heard[bucket.index()] = Some(primary.id);
        }
    }

    /// The primary's connection hears nothing any more.
    fn lose(&self, primary: &Primary) {
        for by in self.lock().iter_mut().filter(|by| **by == Some(primary.id)) {
            *by = None;
        }
    }

    /// The primary withdrew one subscription.
    fn lose_one(&self, bucket: Bucket, primary: u64) {
        let by = &mut self.lock()[bucket.index()];
        if *by == Some(primary) {
            *by = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<u64>>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is heard before and after its life.
struct Clear<'a>(&'a HeardBuckets);

impl<'a> Clear<'a> {
    fn all_of(heard_buckets: &'a HeardBuckets) -> Self {
        heard_buckets.lock().fill(None);
        Self(heard_buckets)
    }
}

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        self.0.lock().fill(None);
    }
}

/// What a connection's task tells the one that owns it.
#[derive(Default)]
struct ConnectionEvents {
    came: Notify,
    lost: AtomicBool,
}

/// Listens to one primary.
struct Listener<'a, C> {
    map: &'a Arc<Map>,
    heard_buckets: &'a Arc<HeardBuckets>,
    primary: Arc<Primary>,
    channels: &'a C,
    handler: &'a Arc<dyn ChannelHandler>,
}

impl<C: Fn(Bucket) -> Vec<u8>> Listener<'_, C> {
    /// Connects, listens, and does so again after a loss.
    async fn run(&self) {
        let mut pause = REDIS_PAUSE_FIRST;
        loop {
            let began = Instant::now();
            let why = self.listen_once().await;
            self.heard_buckets.lose(&self.primary);
            self.map.refresh();
            // Told once for each time that it is lost, not for each attempt to get it back.
            if began.elapsed() > REDIS_PING_EVERY {
                pause = REDIS_PAUSE_FIRST;
            }
            if pause == REDIS_PAUSE_FIRST {
                tracing::warn!(server = %self.primary.address, %why, "the subscription for wake-ups was lost; subscribing again");
            }
            sleep(pause).await;
            pause = (pause * 2).min(REDIS_PAUSE_LONGEST);
        }
    }

    /// Listens over one connection until it is lost, and says why it is.
    async fn listen_once(&self) -> String {
        let events = Arc::new(ConnectionEvents::default());
        let opened = self
            .primary
            .connector
            .open(&self.primary.address, self.push(&events))
            .await;
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(why) => return why,
        };
        let mut changes = self.map.changes();
        loop {
            let buckets = changes.borrow_and_update().buckets_of(&self.primary);
            let missing = self.heard_buckets.missing(buckets, &self.primary);
            let settled = match self.subscribe(&mut connection, &missing).await {
                Ok(settled) => settled,
                Err(why) => return why,
            };
            // What is refused here lives elsewhere, or soon does: not a matter of waiting for the next ping.
            let wait = if settled {
                REDIS_PING_EVERY
            } else {
                REDIS_PAUSE_LONGEST
            };
            let rest = async {
                select! {
                    () = events.came.notified() => {}
                    _ = changes.changed() => {}
                }
            };
            let rested = timeout(wait, rest).await;
            if events.lost.load(Ordering::Relaxed) {
                return "the connection was closed".to_owned();
            }
            if rested.is_ok() {
                continue;
            }
            if let Err(why) = ping(&mut connection).await {
                return why;
            }
        }
    }

    /// Subscribes to what is missing, and reports it. Tells whether all of it was granted.
    async fn subscribe(
        &self,
        connection: &mut MultiplexedConnection,
        missing: &[Bucket],
    ) -> Result<bool, String> {
        let mut settled = true;
        for batch in missing.chunks(REDIS_SUBSCRIBE_BATCH) {
            let mut pipeline = Pipeline::with_capacity(batch.len());
            for bucket in batch {
                // One channel a command: a cluster takes several only if they share a slot.
                pipeline.cmd("SSUBSCRIBE").arg((self.channels)(*bucket));
            }
            let asked = connection.send_packed_commands(&pipeline, 0, batch.len());
            let answers = match timeout(REDIS_ANSWER_WITHIN, asked).await {
                Ok(Ok(answers)) => answers,
                Ok(Err(error)) => return Err(said(&error)),
                Err(_) => return Err("SSUBSCRIBE was not answered in time".to_owned()),
            };
            let granted = self.granted(batch, &answers)?;
            self.heard_buckets.gain(&granted, &self.primary);
            if !granted.is_empty() {
                self.handler.gap(&granted);
            }
            settled &= granted.len() == batch.len();
        }
        if !settled {
            self.map.refresh();
        }
        Ok(settled)
    }

    /// Which of a batch the answers confirm. The driver counts a withdrawal that comes in between as an answer: then they
    /// can't be told apart any more, and the connection has to go.
    fn granted(&self, batch: &[Bucket], answers: &[Value]) -> Result<Vec<Bucket>, String> {
        let mut granted = Vec::with_capacity(batch.len());
        for (bucket, answer) in batch.iter().zip(answers) {
            match answer {
                Value::Push {
                    kind: PushKind::SSubscribe,
                    data,
                } if bucket_of(data) == Some(*bucket) => {
                    granted.push(*bucket);
                }
                Value::ServerError(error)
                    if matches!(error.code(), "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN") => {}
                Value::ServerError(error) => return Err(explained(error)),
                _ => return Err("Redis ended a subscription while others were being made".to_owned()),
            }
        }
        Ok(granted)
    }

    /// What is done with each thing that the server says of itself. Runs inside the connection's own task, so what comes
    /// faster than it is handled waits in the network.
    fn push(&self, events: &Arc<ConnectionEvents>) -> impl Fn(PushInfo) + Send + Sync + 'static {
        let (events, heard_buckets, handler) = (
            Arc::clone(events),
            Arc::clone(self.heard_buckets),
            Arc::clone(self.handler),
        );
        let (id, map) = (self.primary.id, Arc::clone(self.map));
        move |info| match info.kind {
            PushKind::SMessage => {
                if let (Some(bucket), Some(Value::BulkString(payload))) =
                    (bucket_of(&info.data), info.data.get(1))
                {
                    handler.message(bucket, payload);
                }
            }
            PushKind::SUnsubscribe => {
                if let Some(bucket) = bucket_of(&info.data) {
                    heard_buckets.lose_one(bucket, id);
                    map.refresh();
                    events.came.notify_one();
                }
            }
            PushKind::Disconnection => {
                events.lost.store(true, Ordering::Relaxed);
                events.came.notify_one();
            }
            _ => {}
        }
    }
}

/// The bucket of a push message's channel.
fn bucket_of(data: &[Value]) -> Option<Bucket> {
    match data.first() {
        Some(Value::BulkString(channel)) => Bucket::of_key(channel),
        _ => None,
    }
}

/// Whether the connection still answers.
async fn ping(connection: &mut MultiplexedConnection) -> Result<(), String> {
    let mut ping = Cmd::new();
    ping.arg("PING");
    match timeout(REDIS_ANSWER_WITHIN, connection.send_packed_command(&ping)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(said(&error)),
        Err(_) => Err("PING was not answered in time".to_owned()),
    }
}

/// A wake-up that is lost is found by the next look into storage, a minute later at most (PR-14): a lost connection has to
/// be found much sooner.
const _: () =
    assert!(REDIS_PING_EVERY.as_secs() + REDIS_ANSWER_WITHIN.as_secs() < Duration::from_secs(60).as_secs());

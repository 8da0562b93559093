//! The connections to Redis against real servers: alone, in a cluster, under sentinels, and mistreated.

use std::sync::Arc;
use std::time::Duration;

use push_tests::redis::{Configuration, Server};
use push_tests::within;
use redis::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::*;
use crate::defaults::REDIS_START_WITHIN;
use crate::storage::redis::url::RedisUrl;
use crate::tasks::PanicAlarm;

mod cluster;
mod confirmed;
mod inspection;
mod listening;
mod sentinels;
mod single;
mod starting;

/// Connects as the service does.
async fn connect(url: &str) -> Primaries {
    connect_with(url, Options::default()).await.unwrap()
}

async fn connect_with(url: &str, options: Options) -> Result<Primaries, StorageError> {
    let patience = Patience {
        within: REDIS_START_WITHIN,
        waits_for: None,
    };
    Primaries::connect(
        &RedisUrl::parse(url).unwrap(),
        &options,
        patience,
        &PanicAlarm::default(),
    )
    .await
}

/// What the links hand out can run on any thread. Compiled, never run.
#[allow(dead_code)]
fn everything_can_be_sent(
    primaries: &'static Primaries,
    script: &'static Script,
    handler: Arc<dyn ChannelHandler>,
) {
    fn sent<F: Future + Send>(_: F) {}
    sent(primaries.run(Work::Step, Bucket::new(0), script, &[], &[]));
    sent(primaries.pipeline(Vec::new()));
    sent(primaries.listen(key, handler));
    sent(primaries.look(key, |_| {}));
    sent(connect(""));
}

/// A step that counts its runs, so that one too many shows.
fn count(repeat: Repeat) -> Script {
    Script::new("count", "#!lua\nreturn redis.call('INCR', KEYS[1])", repeat)
}

/// A key of a bucket.
fn key(bucket: Bucket) -> Vec<u8> {
    [b"test:{", bucket.tag().as_slice(), b"}"].concat()
}

/// Runs [`count`] on the bucket's key.
async fn counted(
    primaries: &Primaries,
    work: Work,
    bucket: Bucket,
    script: &Script,
) -> Result<i64, StorageError> {
    match primaries.run(work, bucket, script, &[&key(bucket)], &[]).await? {
        Value::Int(count) => Ok(count),
        other => panic!("a number was expected, not {other:?}"),
    }
}

/// The sentence of a refusal.
fn why<T: std::fmt::Debug>(answer: Result<T, StorageError>) -> String {
    match answer {
        Err(StorageError::Unavailable(why)) => why,
        other => panic!("`Unavailable` was expected, not {other:?}"),
    }
}

/// Runs the look until it says that a primary is back, or another one.
async fn back(primaries: &Primaries, what: &str) -> Vec<Bucket> {
    let (returned, buckets) = (Notify::new(), std::sync::Mutex::new(Vec::new()));
    let look = primaries.look(key, |back| {
        buckets.lock().unwrap().extend_from_slice(back);
        returned.notify_one();
    });
    tokio::select! {
        () = look => {}
        () = within(what, returned.notified()) => {}
    }
    buckets.into_inner().unwrap()
}

/// Looks until a look has found trouble, and tells it.
async fn trouble(primaries: &Primaries) -> String {
    let (found, sentence) = (Notify::new(), std::sync::Mutex::new(String::new()));
    // Each look asks for the marks, and sees what the one before it found.
    let mark = |bucket| {
        if let Err(StorageError::Unavailable(why)) = primaries.health() {
            *sentence.lock().unwrap() = why;
            found.notify_one();
        }
        key(bucket)
    };
    tokio::select! {
        () = primaries.look(mark, |_| {}) => {}
        () = within("trouble is found", found.notified()) => {}
    }
    sentence.into_inner().unwrap()
}

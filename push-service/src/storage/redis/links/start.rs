//! Connects to the servers of Redis when the service starts, and checks that they are fit to store messages (PR-31).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::confirmed::Confirmation;
use super::discovery::Discovery;
use super::failure::unavailable;
use super::inspection::{DEFAULT_USER, Inspector};
use super::link::Connector;
use super::listen::HeardBuckets;
use super::look::Health;
use super::map::Map;
use super::primary::{Primary, Work};
use super::proof::Assurance;
use super::reply::{explained, field, text};
use super::{Options, Primaries};
use crate::defaults::{
    REDIS_ANSWER_WITHIN, REDIS_PAUSE_FIRST, REDIS_START_PAUSE_LONGEST, REDIS_STEPS_UNDER_WAY,
};
use crate::storage::StorageError;
use crate::storage::redis::WaitsFor;
use crate::storage::redis::bucket::Bucket;
use crate::storage::redis::replicas::WaitReplicas;
use crate::storage::redis::url::{Kind, RedisUrl};
use crate::tasks::{PanicAlarm, Task};

impl Primaries {
    /// Finds the primaries, connects to them, and checks that they are fit to store messages.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong and what to do: at once when waiting would not help, else when `patience` is over.
    pub(in crate::storage::redis) async fn connect(
        url: &RedisUrl,
        options: &Options,
        patience: Patience,
        alarm: &PanicAlarm,
    ) -> Result<Self, StorageError> {
        let authorities =
            match &options.ca {
                None => None,
                Some(path) => Some(tokio::fs::read(path).await.map_err(|error| {
                    unavailable(format!("storage.redis.ca: {}: {error}", path.display()))
                })?),
            };
        let confirmation = (options.wait_replicas.is_any() || options.wait_aof).then_some(Confirmation {
            replicas: options.wait_replicas,
            missed_for: options.replica_missed_for,
            on_disk: options.wait_aof,
        });
        let connector = Arc::new(Connector::new(url, authorities, alarm));
        let map = Arc::new(Map::new(Arc::clone(&connector), confirmation));
        let mut discovery = Discovery::new(url);
        let mut wait = Wait::new(url, patience);
        loop {
            match ready(&map, &mut discovery, url, options).await {
                Ok(()) => break wait.end(),
                Err(Unfit::Never(why)) => return Err(unavailable(format!("{url}: {why}"))),
                Err(Unfit::NotYet(why)) => wait.pause(why).await?,
            }
        }
        let watched = Arc::clone(&map);
        let watch = async move { watched.watch(discovery).await };
        let watch = tokio::spawn(alarm.watch(Task::RedisTopology, watch));
        let primaries = Self {
            health: Mutex::new(Health::of(&map.now())),
            wait_replicas: options.wait_replicas,
            inspector: Inspector::new(url, options),
            heard_buckets: Arc::new(HeardBuckets::new()),
            assurance: Assurance::of(url, options.wait_replicas.is_any(), &map, &connector),
            map,
            permits: Semaphore::new(REDIS_STEPS_UNDER_WAY),
            _watch: AbortOnDropHandle::new(watch),
        };
        primaries.inspect().await;
        Ok(primaries)
    }
}

/// How long the start waits for a Redis that can't be used yet, and who is told.
pub(in crate::storage::redis) struct Patience {
    pub(in crate::storage::redis) within: Duration,
    pub(in crate::storage::redis) waits_for: Option<WaitsFor>,
}

/// The wait for a Redis that can't be used yet. The log has one line when it begins and one when it ends.
struct Wait<'a> {
    url: &'a RedisUrl,
    patience: Patience,
    began: Instant,
    pause: Duration,
    /// Why the last attempt failed.
    why: Option<String>,
}

impl<'a> Wait<'a> {
    fn new(url: &'a RedisUrl, patience: Patience) -> Self {
        Self {
            url,
            patience,
            began: Instant::now(),
            pause: REDIS_PAUSE_FIRST,
            why: None,
        }
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    ///
    /// The time is over.
    async fn pause(&mut self, why: String) -> Result<(), StorageError> {
        let (url, within) = (self.url, self.patience.within);
        let left = within.saturating_sub(self.began.elapsed());
        if left.is_zero() {
            let why = format!(
                "storage.url {url} cannot be used: {why}; the start waited {within:?} for it (storage.redis.start_within)"
            );
            return Err(unavailable(why));
        }
        if self.why.is_none() {
            tracing::warn!(
                redis = %url,
                why,
                ?within,
                "Redis cannot be used yet: the start waits for it, for storage.redis.start_within at most"
            );
        }
        if self.why.as_ref() != Some(&why) {
            if let Some(told) = &self.patience.waits_for {
                told(&format!("Redis at {url}: {why}"));
            }
            self.why = Some(why);
        }
        // The last attempt is made when the time is over.
        sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(REDIS_START_PAUSE_LONGEST);
        Ok(())
    }

    /// Redis can be used.
    fn end(self) {
        if self.why.is_some() {
            let waited = self.began.elapsed();
            tracing::info!(redis = %self.url, ?waited, "Redis can be used now: the start goes on");
        }
    }
}

/// Why a store can't be used.
enum Unfit {
    /// It may become usable without an operator: the service tries again while it has [`Patience`].
    NotYet(String),
    /// An operator has to change something.
    Never(String),
}

/// Whether all primaries are found and fit.
async fn ready(map: &Map, discovery: &mut Discovery, url: &RedisUrl, options: &Options) -> Result<(), Unfit> {
    map.look(discovery).await.map_err(unfit)?;
    let table = map.now();
    if let Some(hole) = table.hole() {
        let slot = hole.slot();
        return Err(Unfit::NotYet(format!(
            "no server of the Redis cluster serves slot {slot}"
        )));
    }
    for primary in &table.primaries {
        let bucket = table.buckets_of(primary)[0];
        let has_file = check(primary, bucket, url, options).await?;
        let is_default = url.user.as_ref().is_none_or(|user| user == DEFAULT_USER);
        if has_file && !is_default {
            check_reload(primary, &key(bucket, options)).await?;
        }
    }
    Ok(())
}

/// Checks role, version and settings of a server. Returns whether it has an append-only file.
async fn check(primary: &Primary, bucket: Bucket, url: &RedisUrl, options: &Options) -> Result<bool, Unfit> {
    let mut questions = Pipeline::with_capacity(6);
    for section in ["server", "memory", "replication", "persistence", "cluster"] {
        let mut info = Cmd::new();
        info.arg("INFO").arg(section);
        questions.add_command(info);
    }
    // A step would get the same error from a server that is still loading, or from a member of a cluster that is down.
    questions.cmd("EXISTS").arg(key(bucket, options));
    // `ROLE` says which replicas are connected, for each batch that has to be confirmed.
    if matches!(options.wait_replicas, WaitReplicas::All { .. }) {
        questions.cmd("ROLE");
    }
    let answers = primary
        .send_all(Work::Step, &questions, Instant::now() + REDIS_ANSWER_WITHIN)
        .await;
    let answers = answers.map_err(|failure| unfit(failure.explained()))?;
    let address = &primary.address;
    let info: String = answers.iter().filter_map(text).collect();
    if field(&info, "cluster_enabled") == Some("1") && url.kind != Kind::Cluster {
        let why = format!("{address} is a member of a cluster: use redis+cluster:// in storage.url");
        return Err(Unfit::Never(why));
    }
    let error = answers.iter().find_map(|answer| match answer {
        // That bucket is on its way to another server just now.
        Value::ServerError(error) if matches!(error.code(), "ASK" | "TRYAGAIN") => None,
        Value::ServerError(error) => Some(explained(error)),
        _ => None,
    });
    if let Some(error) = error {
        return Err(unfit(format!("{address}: {error}")));
    }
    if field(&info, "role") != Some("master") {
        primary.depose();
        let why = format!("{address} is a replica, but storage.url must name the primary");
        return Err(Unfit::NotYet(why));
    }
    fit(&info, options).map_err(|why| Unfit::Never(format!("{address} {why}")))?;
    Ok(has_file(&info))
}

/// Checks what a server's `INFO` says. The error is the rest of a sentence that begins with the server's address.
fn fit(info: &str, options: &Options) -> Result<(), String> {
    let says = |name| field(info, name).unwrap_or_default();
    let valkey = field(info, "valkey_version");
    let version = valkey.unwrap_or(says("redis_version"));
    if !at_least(version, (7, 0)) {
        return Err(format!(
            "is Redis {version}, but this service needs 7.0 or newer: upgrade it"
        ));
    }
    let policy = says("maxmemory_policy");
    if policy != "noeviction" {
        return Err(format!(
            "has `maxmemory-policy {policy}`, which drops messages when memory is full: set \
             `maxmemory-policy noeviction`"
        ));
    }
    if !options.wait_aof {
        return Ok(());
    }
    if valkey.is_none() && !at_least(version, (7, 2)) {
        return Err(format!(
            "is Redis {version}, but storage.redis.wait_aof needs Redis 7.2 or Valkey"
        ));
    }
    if !has_file(info) {
        return Err("does not write to disk, but storage.redis.wait_aof needs `appendonly yes`".to_owned());
    }
    Ok(())
}

/// Whether a server has an append-only file, from its `INFO`.
fn has_file(info: &str) -> bool {
    field(info, "aof_enabled") == Some("1")
}

/// A key in this bucket that the service's Redis user may use.
fn key(bucket: Bucket, options: &Options) -> Vec<u8> {
    [options.prefix.as_bytes(), b":{", bucket.tag().as_slice(), b"}"].concat()
}

/// Checks that a server can read its own append-only file after a restart.
///
/// A server replays the file as its user `default`. Many versions check that user's rights for commands between MULTI and EXEC,
/// and a script that writes more than once is written between these. `user default off` takes these rights away. Then the
/// server skips such commands without an error: after a restart marks would be there and records would not, and user agents
/// would be unknown (PR-3).
async fn check_reload(primary: &Primary, key: &[u8]) -> Result<(), Unfit> {
    let mut questions = Pipeline::with_capacity(REPLAYED.len());
    for (command, rest) in REPLAYED {
        // `default` is who reads the append-only file.
        let dry_run = questions.cmd("ACL").arg("DRYRUN").arg(DEFAULT_USER);
        dry_run.arg(*command).arg(key).arg(*rest);
    }
    let asked = primary.send_all(Work::Step, &questions, Instant::now() + REDIS_ANSWER_WITHIN);
    let address = &primary.address;
    for answer in asked
        .await
        .map_err(|failure| Unfit::NotYet(failure.explained()))?
    {
        match answer {
            Value::Okay => {}
            Value::ServerError(error) => {
                let why = explained(&error);
                tracing::warn!(
                    server = %address,
                    %why,
                    "cannot check whether Redis can read its append-only file after a restart: give this \
                     service's user the right `+acl|dryrun`"
                );
                return Ok(());
            }
            _ => {
                return Err(Unfit::Never(format!(
                    "{address} would lose messages at its next start: it reads its append-only file with \
                     the rights of the user `default`, which are too few. Set `user default off ~* &* \
                     +@all` there"
                )));
            }
        }
    }
    Ok(())
}

/// The commands by which scripts write, each with the arguments behind its key.
const REPLAYED: &[(&str, &[&str])] = &[
    ("APPEND", &[""]),
    ("HSET", &["field", "value"]),
    ("HDEL", &["field"]),
    ("ZADD", &["1", "member"]),
    ("ZREM", &["member"]),
    ("PEXPIREAT", &["1"]),
    ("ZREMRANGEBYSCORE", &["-inf", "0"]),
    ("UNLINK", &[]),
];

/// Sorts an error of a connection: a wrong password or certificate does not become right by waiting.
fn unfit(why: String) -> Unfit {
    let never = [
        "AuthenticationFailed",
        "WRONGPASS",
        "NOAUTH",
        "NOPERM",
        "authentication failed",
        "certificate",
        // TLS is spoken to a port without it.
        "corrupt message",
        "cluster support disabled",
        // Older than 6.0, or the command has another name there.
        "unknown command",
        "DB index is out of range",
        "refused to switch database",
    ];
    let lower = why.to_ascii_lowercase();
    if never
        .iter()
        .any(|word| lower.contains(&word.to_ascii_lowercase()))
    {
        Unfit::Never(why)
    } else {
        Unfit::NotYet(why)
    }
}

/// Whether `7.0.15` is 7.0 or later.
fn at_least(version: &str, least: (u32, u32)) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-31: what a server has to be is read from what it says of itself, Valkey's version before Redis's.
    #[test]
    fn what_a_server_says_decides() {
        let info = |server: &str, policy: &str, aof: &str| {
            format!("# Server\r\n{server}\r\nmaxmemory_policy:{policy}\r\naof_enabled:{aof}\r\n")
        };
        let (valkey, redis) = (
            "redis_version:7.2.4\r\nvalkey_version:8.1.1",
            "redis_version:7.0.15",
        );
        let rows = [
            (info(redis, "noeviction", "0"), false, None),
            (info(valkey, "noeviction", "1"), true, None),
            (
                info("redis_version:6.2.14", "noeviction", "1"),
                false,
                Some("needs 7.0 or newer"),
            ),
            (info("", "noeviction", "1"), false, Some("needs 7.0 or newer")),
            (
                info(redis, "volatile-lru", "1"),
                false,
                Some("maxmemory-policy noeviction"),
            ),
            (info(redis, "noeviction", "1"), true, Some("needs Redis 7.2")),
            (info(valkey, "noeviction", "0"), true, Some("appendonly yes")),
        ];
        for (info, wait_aof, expected) in rows {
            let options = Options {
                wait_aof,
                ..Options::default()
            };
            match (fit(&info, &options), expected) {
                (Ok(()), None) => {}
                (Err(why), Some(expected)) if why.contains(expected) => {}
                (found, expected) => panic!("{info}: {found:?}, not {expected:?}"),
            }
        }
    }
}

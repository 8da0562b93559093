//! Opens the storage that the configuration names, with the keys that it admits (PR-28).
//!
//! Also for commands that need storage without a node around it: export, import, and giving up what was lost.

use std::path::PathBuf;
use std::sync::Arc;

use push_protocol::capability::{Capabilities, SealingKey};

use super::{ServiceError, sentence};
use crate::config::{Config, Credential, StorageUrl};
use crate::defaults::{REDIS_DOUBTED_FOR, REDIS_START_WITHIN};
use crate::random;
use crate::storage::clock::SystemClock;
use crate::storage::embedded::{Embedded, Options};
use crate::storage::memory::Memory;
use crate::storage::redis::url::RedisUrl;
use crate::storage::redis::{self, Redis, WaitReplicas, WaitsFor};
use crate::storage::{Announce, NoSessions, Retention, Storage, StorageError};

/// Storage, and the keys that it admits.
pub(super) async fn open(
    config: &Config,
    announce: Arc<dyn Announce>,
) -> Result<(Arc<dyn Storage>, Capabilities), ServiceError> {
    let (storage, keys) = open_with_keys(config, announce, None).await?;
    let capabilities = admitted(&*storage, &keys).await?;
    Ok((storage, capabilities))
}

/// What the keys can do, if storage admits them.
pub(super) async fn admitted(
    storage: &dyn Storage,
    keys: &[SealingKey],
) -> Result<Capabilities, ServiceError> {
    let capabilities = Capabilities::new(keys).map_err(|error| sentence("security.sealing_keys", &error))?;
    let fingerprints: Vec<_> = capabilities.fingerprints().collect();
    storage
        .admit_sealing_keys(&fingerprints)
        .await
        .map_err(|error| sentence("security.sealing_keys", &error))?;
    Ok(capabilities)
}

/// Storage, and all keys that seal and open here: the configured ones, and the store's own. A Redis that can't be used yet is
/// waited for, and `waits_for` is told.
pub(super) async fn open_with_keys(
    config: &Config,
    announce: Arc<dyn Announce>,
    waits_for: Option<WaitsFor>,
) -> Result<(Arc<dyn Storage>, Vec<SealingKey>), ServiceError> {
    let mut keys = config.security.sealing_keys.clone();
    let storage: Arc<dyn Storage> = match &config.storage.url {
        StorageUrl::Memory => {
            if keys.is_empty() {
                keys.push(SealingKey::from_random(random::bytes()));
            }
            Arc::new(Memory::new(announce, Arc::new(SystemClock), retention(config)))
        }
        StorageUrl::Embedded { path } => {
            let embedded = open_embedded(path.clone(), announce, config).await?;
            add_own_key(&embedded, &mut keys)
                .await
                .map_err(|error| sentence("the sealing key", &error))?;
            Arc::new(embedded)
        }
        StorageUrl::Redis(url) => {
            let options = redis::Options {
                start_within: config.storage.redis.start_within,
                waits_for,
                ..redis_options(config, url.expose(), announce)?
            };
            let redis = Redis::open(options).await;
            Arc::new(redis.map_err(|error| sentence("storage.url", &error))?)
        }
    };
    Ok((storage, keys))
}

/// Looks whether storage can be opened, and changes nothing. Answers warnings, a sentence each.
pub(super) async fn inspect(config: &Config) -> Result<Vec<String>, ServiceError> {
    let refused = |error: &dyn std::fmt::Display| sentence("storage.url", error);
    match &config.storage.url {
        StorageUrl::Memory => Ok(Vec::new()),
        StorageUrl::Embedded { path } => {
            let path = path.clone();
            let inspected = tokio::task::spawn_blocking(move || Embedded::inspect(&path)).await;
            let inspected = inspected.map_err(|error| refused(&error))?;
            inspected.map(|()| Vec::new()).map_err(|error| refused(&error))
        }
        StorageUrl::Redis(url) => {
            let keys = &config.security.sealing_keys;
            let capabilities =
                Capabilities::new(keys).map_err(|error| sentence("security.sealing_keys", &error))?;
            let fingerprints: Vec<_> = capabilities.fingerprints().collect();
            let options = redis_options(config, url.expose(), Arc::new(NoSessions))?;
            Redis::inspect(&options, &fingerprints)
                .await
                .map_err(|error| refused(&error))
        }
    }
}

/// Gives up what a Redis lost, and says how many parts of the store that were.
pub(super) async fn begin_anew(config: &Config) -> Result<Option<usize>, ServiceError> {
    let StorageUrl::Redis(url) = &config.storage.url else {
        return Ok(None);
    };
    let options = redis_options(config, url.expose(), Arc::new(NoSessions))?;
    let begun = Redis::begin_anew(&options).await;
    begun.map(Some).map_err(|error| sentence("storage.url", &error))
}

/// How long records are kept.
fn retention(config: &Config) -> Retention {
    Retention {
        whole: config.storage.retention,
        unused: config.storage.unused_retention,
    }
}

/// How the configuration says that Redis is used. It is waited for as long as a person at a terminal waits.
fn redis_options(
    config: &Config,
    url: &str,
    announce: Arc<dyn Announce>,
) -> Result<redis::Options, ServiceError> {
    let mut url = RedisUrl::parse(url).map_err(|why| sentence("storage.url", &why))?;
    let own = &config.storage.redis;
    let exposed = |own: &Option<Credential>| own.as_ref().map(|own| own.expose().to_owned());
    url.user = exposed(&own.username).or(url.user);
    url.password = exposed(&own.password).or(url.password);
    Ok(redis::Options {
        wait_replicas: match config.storage.redis.wait_replicas {
            WaitReplicas::All { .. } => WaitReplicas::All {
                least: config.storage.redis.wait_replicas_min,
            },
            number => number,
        },
        retention: retention(config),
        doubted_for: config.cluster.reconcile.max(REDIS_DOUBTED_FOR),
        wait_aof: config.storage.redis.wait_aof,
        ca: config.storage.redis.ca.clone(),
        prefix: config.storage.redis.prefix.to_string(),
        start_within: config.storage.redis.start_within.min(REDIS_START_WITHIN),
        inline_bytes: u32::try_from(config.cluster.inline_bytes).unwrap_or(u32::MAX),
        ..redis::Options::new(url, announce)
    })
}

/// The key that the store made for itself goes on opening what it sealed, behind configured keys; if there are none, it
/// is the one that seals, made now if need be (PR-28).
async fn add_own_key(embedded: &Embedded, keys: &mut Vec<SealingKey>) -> Result<(), StorageError> {
    let own = match embedded.sealing_key().await? {
        Some(own) => own,
        None if !keys.is_empty() => return Ok(()),
        None => {
            let fresh = random::bytes();
            embedded.keep_sealing_key(fresh).await?;
            fresh
        }
    };
    let own = SealingKey::from_random(own);
    if !keys.contains(&own) {
        keys.push(own);
    }
    Ok(())
}

async fn open_embedded(
    directory: PathBuf,
    announce: Arc<dyn Announce>,
    config: &Config,
) -> Result<Embedded, ServiceError> {
    let mut options = Options::new(directory, announce);
    options.retention = retention(config);
    let opened = tokio::task::spawn_blocking(move || Embedded::open(options)).await;
    let opened = opened.map_err(|error| sentence("storage.url", &error))?;
    opened.map_err(|error| sentence("storage.url", &error))
}

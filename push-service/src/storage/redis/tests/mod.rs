//! The store in Redis against real servers.

mod aborted;
mod apart;
mod bounded;
mod clock;
mod confirmed;
mod contract;
mod costs;
mod export;
mod founding;
mod half_moved;
mod keys;
mod laboratory;
mod model;
mod receipts;
mod senders;
mod wake_ups;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use push_tests::redis::{Configuration, Server};

use super::url::RedisUrl;
use super::{Options, Redis, WaitReplicas};
use crate::storage::clock::Clock;
use crate::storage::contract::Rig;

/// The incarnation of the seats that cases use: the storage takes them for its own.
const OWN: u64 = 7;

/// A store in the Redis at `url`, beside whatever is there already.
async fn open(url: &str, incarnation: u64) -> Rig {
    static STORES: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("push{}", STORES.fetch_add(1, Ordering::Relaxed));
    open_with(url, incarnation, prefix).await
}

async fn open_with(url: &str, incarnation: u64, prefix: String) -> Rig {
    open_with_replicas(url, incarnation, prefix, 0).await
}

/// One whose steps have to be confirmed by so many replicas.
async fn open_with_replicas(url: &str, incarnation: u64, prefix: String, wait_replicas: u32) -> Rig {
    let url = RedisUrl::parse(url).unwrap();
    Rig::opening(async |announce, clock| {
        let options = Options {
            prefix,
            clock: Some(clock as Arc<dyn Clock>),
            incarnation,
            wait_replicas: WaitReplicas::Number(wait_replicas),
            ..Options::new(url, announce)
        };
        Arc::new(Redis::open(options).await.unwrap())
    })
    .await
}

/// A store in a server of its own.
async fn alone() -> Rig {
    let server = Server::start(Configuration::new()).await;
    let url = server.url();
    open(&url, OWN).await.keeping(server)
}

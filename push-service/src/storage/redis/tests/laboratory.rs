//! A store whose scripts call Redis through a prelude: it counts what they do, or aborts them.

use std::sync::Arc;

use push_tests::redis::{Configuration, Server};

use super::super::scripts::Scripts;
use super::super::url::RedisUrl;
use super::super::{Options, Redis};
use crate::storage::Announce;
use crate::storage::clock::{Clock, ManualClock};
use crate::storage::contract::Announcements;

/// A server of its own, and a store in it.
pub(super) struct Laboratory {
    pub(super) server: Server,
    pub(super) redis: Redis,
    pub(super) clock: Arc<ManualClock>,
}

impl Laboratory {
    pub(super) async fn open(prelude: &str, incarnation: u64) -> Self {
        let server = Server::start(Configuration::new()).await;
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let announcements = Arc::new(Announcements::default());
        let redis = open(
            &server,
            prelude,
            incarnation,
            announcements,
            Arc::clone(&clock) as _,
        )
        .await;
        Self { server, redis, clock }
    }
}

/// A store in this server. The prelude comes before the text of each script, which it gives another `redis`.
pub(super) async fn open(
    server: &Server,
    prelude: &str,
    incarnation: u64,
    announce: Arc<dyn Announce>,
    clock: Arc<dyn Clock>,
) -> Redis {
    let options = Options {
        incarnation,
        clock: Some(clock),
        ..Options::new(RedisUrl::parse(&server.url()).unwrap(), announce)
    };
    let mut redis = Redis::open(options).await.unwrap();
    redis.scripts = Scripts::with_sources(&|source| {
        let (flags, rest) = source.split_once('\n').unwrap();
        let (name, rest) = rest.split_once('\n').unwrap();
        format!("{flags}\n{name}\n{prelude}{rest}")
    });
    redis
}

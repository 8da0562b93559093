//! A clock that leaps, Redis's or the node's: neither of them can tell which.

use std::sync::Arc;
use std::time::Duration;

use push_protocol::Ttl;
use push_tests::redis::{Configuration, Server};

use super::super::url::RedisUrl;
use super::super::{Options, Redis};
use super::OWN;
use crate::defaults::REDIS_CLOCK_REFUSED;
use crate::storage::clock::{Clock, SystemClock};
use crate::storage::contract::{Rig, enqueue, everything, name, seat, subscribe, user_agent};
use crate::storage::{Confirm, Enqueue, Manner, Removal, StorageError};

/// A store that takes its time from Redis, for a node whose own clock the rig moves.
async fn store(server: &Server) -> Rig {
    let url = RedisUrl::parse(&server.url()).unwrap();
    let rig = Rig::opening(async |announce, clock| {
        let options = Options {
            own_clock: clock,
            incarnation: OWN,
            ..Options::new(url, announce)
        };
        Arc::new(Redis::open(options).await.unwrap())
    });
    let rig = rig.await;
    rig.clock.step_wall_to(SystemClock.now_us());
    rig
}

fn is_trouble<T: std::fmt::Debug>(answer: Result<T, StorageError>) {
    match answer {
        Err(StorageError::Unavailable(why)) => assert!(why.contains("more than an hour apart"), "{why}"),
        other => panic!("trouble was expected, not {other:?}"),
    }
}

/// PR-29, PR-30: while the clocks of Redis and of a node are more than an hour apart, in either direction, no step of
/// that node ends or expires anything, or answers; when they agree again, everything is unchanged.
#[tokio::test]
async fn a_clock_that_leaps_ends_nothing() {
    let server = Server::start(Configuration::new()).await;
    let rig = store(&server).await;
    rig.subscribed(1, 1).await;
    let minute = |body: &[u8]| Enqueue {
        ttl: Ttl::from_secs(60),
        ..enqueue(1, 1, body)
    };
    let id = rig.stored(minute(b"a")).await;
    let ids = [id];
    let second = Duration::from_secs(1).as_micros() as u64;
    let leap = REDIS_CLOCK_REFUSED.as_micros() as u64 + 10 * second;
    for leapt in [SystemClock.now_us() - leap, SystemClock.now_us() + leap] {
        rig.clock.step_wall_to(leapt);
        let storage = &rig.storage;
        is_trouble(
            storage
                .attach(user_agent(1), seat(1), everything(), Manner::Asking)
                .await,
        );
        is_trouble(storage.page(user_agent(1), seat(1), everything()).await);
        is_trouble(storage.enqueue(minute(b"b")).await);
        is_trouble(storage.subscribe(subscribe(1, 2)).await);
        is_trouble(storage.unsubscribe(user_agent(1), name(1)).await);
        is_trouble(storage.trace(user_agent(1), 1).await);
        is_trouble(storage.outbox(user_agent(1), 1).await);
        let acknowledged =
            storage.acknowledge(user_agent(1), &ids, Removal::Acknowledged, Confirm::Durably, None);
        is_trouble(acknowledged.await);
    }
    // A correction, as any clock may need it.
    let little = REDIS_CLOCK_REFUSED.as_micros() as u64 - 10 * second;
    for stepped in [SystemClock.now_us() - little, SystemClock.now_us() + little] {
        rig.clock.step_wall_to(stepped);
        let page = rig.attached(1, seat(1)).await;
        assert_eq!(page.messages.len(), 1);
        assert_eq!(page.messages[0].id, id);
    }
}

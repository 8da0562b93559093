//! What stands in Redis, for how long, and what a store says of keys that it can't vouch for.

use std::time::Duration;

use push_protocol::{MessageId, MessageNumber, Ttl};
use push_tests::redis::{Configuration, Reply, Server};

use super::{OWN, open_with};
use crate::defaults::{RETENTION, UNUSED_RETENTION};
use crate::storage::contract::{Rig, enqueue, everything, name, seat, subscribe, user_agent};
use crate::storage::{Attached, Enqueue, Enqueued, Manner, QueueLimits, Refreshed, StorageError};

/// The bucket of user agent 1, whose id is all ones: the first ten bits.
const MARK: &str = "push:{004}";
const RECORD: &str = "push:{004}:r:01010101010101010101010101010101";
const INDEX: &str = "push:{004}:i:01010101010101010101010101010101";
const BODIES: &str = "push:{004}:q:01010101010101010101010101010101";

async fn store() -> (Server, Rig) {
    let server = Server::start(Configuration::new()).await;
    let rig = open_with(&server.url(), OWN, "push".to_owned()).await;
    (server, rig)
}

async fn remaining(server: &Server, key: &str) -> Duration {
    let left = server.command(&["PTTL", key]).await.integer();
    Duration::from_millis(u64::try_from(left).unwrap_or_else(|_| panic!("{key} has no expiry: {left}")))
}

/// PR-29: every key of a user agent has an expiry: the record that of the retention, what waits that of the last message,
/// later messages move it, and nothing is left of an emptied queue.
#[tokio::test]
async fn every_key_expires() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    assert!(remaining(&server, RECORD).await > UNUSED_RETENTION - Duration::from_secs(60));
    assert!(remaining(&server, RECORD).await < UNUSED_RETENTION * 2);
    let with_ttl = |secs, body| Enqueue {
        ttl: Ttl::from_secs(secs),
        ..enqueue(1, 1, body)
    };
    let mut stored = Vec::new();
    for (secs, body) in [(600, b"a"), (60, b"b"), (86_400, b"c")] {
        stored.push(rig.stored(with_ttl(secs, body)).await);
        assert!(remaining(&server, RECORD).await > RETENTION - Duration::from_secs(60));
        let least = Duration::from_secs(secs);
        // A sole message has no index.
        for key in [BODIES, INDEX].into_iter().take(stored.len()) {
            let left = remaining(&server, key).await;
            assert!(
                left > least && left <= least * 2 + Duration::from_secs(600),
                "{key}: {left:?}"
            );
        }
    }
    rig.acknowledged(1, &stored).await;
    assert_eq!(server.command(&["EXISTS", INDEX, BODIES]).await.integer(), 0);
    rig.stored(with_ttl(60, b"d")).await;
    assert!(
        remaining(&server, BODIES).await > Duration::from_secs(60),
        "a new queue has an expiry again"
    );
}

/// PR-29: a sole message needs no index; a step that reads the queue, or stores behind it, makes one, which expires with what is
/// in it. Removed, nothing is left, whether it was indexed or not.
#[tokio::test]
async fn a_sole_message_has_no_index_until_it_needs_one() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    let indexed = async || server.command(&["ZCARD", INDEX]).await.integer();
    let kept = async || server.command(&["EXISTS", INDEX, BODIES]).await.integer();

    let read = rig.stored(enqueue(1, 1, b"a")).await;
    assert_eq!(indexed().await, 0);
    assert_eq!(rig.waiting(1).await, [read]);
    assert_eq!(indexed().await, 1);
    assert!(remaining(&server, INDEX).await > Duration::ZERO);
    assert_eq!(rig.acknowledged(1, &[read]).await, [true]);
    assert_eq!(kept().await, 0);

    let sole = rig.stored(enqueue(1, 1, b"b")).await;
    let another = MessageId {
        nonce: !sole.nonce,
        ..sole
    };
    assert_eq!(rig.acknowledged(1, &[another]).await, [false]);
    let behind = rig.stored(enqueue(1, 1, b"c")).await;
    assert_eq!(rig.waiting(1).await, [sole, behind]);
    assert_eq!(rig.acknowledged(1, &[sole, behind]).await, [true, true]);
    assert_eq!(kept().await, 0);

    let unread = rig.stored(enqueue(1, 1, b"d")).await;
    assert_eq!(rig.acknowledged(1, &[unread]).await, [true]);
    assert_eq!(rig.acknowledged(1, &[unread]).await, [false]);
    assert_eq!((indexed().await, kept().await), (0, 0));
    assert_eq!(rig.usage().await.messages, 0);
}

/// PR-29, R30-EXP-1: a queue that expired inside Redis counts against no limit any more.
#[tokio::test]
async fn a_queue_that_vanished_is_not_counted() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    rig.stored(Enqueue {
        ttl: Ttl::from_secs(60),
        ..enqueue(1, 1, b"a")
    })
    .await;
    server.command(&["UNLINK", INDEX, BODIES]).await;
    rig.advance(Duration::from_secs(600));
    let next = rig.stored(enqueue(1, 1, b"b")).await;
    assert_eq!(rig.waiting(1).await, [next]);
    assert_eq!(rig.usage().await.messages, 1);
}

/// PR-29: the first push extends the record's expiry, and no later one does.
#[tokio::test]
async fn only_the_first_push_extends_the_record() {
    let (server, rig) = store().await;
    for (ttl, body) in [(60, b"a"), (0, b"b")] {
        rig.subscribed(1, 1).await;
        let push = Enqueue {
            ttl: Ttl::from_secs(ttl),
            ..enqueue(1, 1, body)
        };
        rig.storage.enqueue(push.clone()).await.unwrap();
        assert!(remaining(&server, RECORD).await > RETENTION - Duration::from_secs(60));
        server.command(&["PEXPIRE", RECORD, "1000000"]).await;
        rig.storage.enqueue(push).await.unwrap();
        assert!(remaining(&server, RECORD).await <= Duration::from_secs(1_000));
        rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    }
}

/// PR-29, PR-35: a record that an older version wrote does not say whether it is unused, and counts as used.
#[tokio::test]
async fn an_older_record_is_a_used_one() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    let unused = async || {
        let report = rig.storage.inspect(user_agent(1)).await.unwrap();
        report.expect("a record").unused
    };
    assert!(unused().await);
    let Reply::Bytes(meta) = server.command(&["HGET", RECORD, "m"]).await else {
        panic!("a record says something of itself");
    };
    assert_eq!(meta.len(), 59);
    server
        .command(&[b"HSET", RECORD.as_bytes(), b"m", &meta[..58]])
        .await;
    assert!(!unused().await);
    rig.storage.subscribe(subscribe(1, 2)).await.unwrap();
    assert!(!unused().await);
    assert!(remaining(&server, RECORD).await > RETENTION - Duration::from_secs(60));
}

/// PR-12, PR-29: a record without subscriptions is kept for its seat alone, and not for the retention.
#[tokio::test]
async fn an_empty_record_is_not_kept_for_long() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    let brief = Duration::from_secs(3 * 60 * 60);
    assert!(remaining(&server, RECORD).await < brief);
    rig.storage.refresh(&[(user_agent(1), seat(1))]).await.unwrap();
    assert!(remaining(&server, RECORD).await < brief);
    rig.subscribed(1, 2).await;
    assert!(
        remaining(&server, RECORD).await > RETENTION - brief,
        "subscribed again, it is kept again"
    );
}

/// PR-3: where the mark of the format is missing no user agent is called unknown, nothing is written, and acknowledgements are
/// not thrown away; elsewhere all goes on.
#[tokio::test]
async fn without_its_mark_a_bucket_is_in_trouble() {
    let (server, rig) = store().await;
    rig.subscribed(2, 1).await;
    server.command(&["DEL", MARK]).await;
    let storage = &rig.storage;
    let troubles = [
        storage.subscribe(subscribe(1, 1)).await.map(drop),
        storage.unsubscribe(user_agent(1), name(1)).await.map(drop),
        storage.enqueue(enqueue(1, 1, b"a")).await.map(drop),
        storage
            .attach(user_agent(1), seat(1), everything(), Manner::Asking)
            .await
            .map(drop),
        storage.page(user_agent(1), seat(1), everything()).await.map(drop),
        storage.inspect(user_agent(1)).await.map(drop),
    ];
    for (at, trouble) in troubles.into_iter().enumerate() {
        let Err(StorageError::Unavailable(why)) = trouble else {
            panic!("step {at} was answered: {trouble:?}");
        };
        assert!(why.contains("lost the mark"), "{why}");
    }
    let refreshed = storage.refresh(&[(user_agent(1), seat(1))]).await.unwrap();
    assert_eq!(refreshed, [Refreshed::Trouble]);
    assert_eq!(server.command(&["EXISTS", RECORD]).await.integer(), 0);
    rig.stored(enqueue(2, 1, b"a")).await;

    server.command(&["SET", MARK, "1"]).await;
    let attached = storage
        .attach(user_agent(1), seat(1), everything(), Manner::Asking)
        .await;
    assert!(
        matches!(attached, Ok(Attached::Unknown)),
        "with the mark back, unknown is said: {attached:?}"
    );
}

/// PR-3: a step that has nothing to do brings no lost mark back, with which user agents would be called unknown.
#[tokio::test]
async fn a_lost_mark_stays_lost() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    server.command(&["DEL", MARK]).await;
    let nothing = MessageId {
        number: MessageNumber(1_700_000_000_000_000),
        nonce: 1,
    };
    assert_eq!(rig.acknowledged(1, &[nothing]).await, [false]);
    rig.storage.unsubscribe(user_agent(1), name(9)).await.unwrap();
    assert_eq!(server.command(&["EXISTS", MARK]).await.integer(), 0);
}

/// PR-3: a record that has lost what it says of itself is damaged, and its user agent not unknown.
#[tokio::test]
async fn a_damaged_record_is_not_unknown() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    server.command(&["HDEL", RECORD, "m"]).await;
    let enqueued = rig.storage.enqueue(enqueue(1, 1, b"a")).await;
    assert!(
        matches!(enqueued, Err(StorageError::Unavailable(_))),
        "{enqueued:?}"
    );
}

/// PR-37: what is left of a store that lost a part is not exported as if it were all.
#[tokio::test]
async fn a_ruin_is_not_exported() {
    let (server, rig) = store().await;
    rig.subscribed(2, 1).await;
    server.command(&["DEL", MARK]).await;
    let exported = rig.storage.export(None, 1 << 20).await;
    assert!(
        matches!(exported, Err(StorageError::Unavailable(_))),
        "{exported:?}"
    );
}

/// PR-35: a record in a newer format is trouble, and left as it is.
#[tokio::test]
async fn a_newer_record_is_not_touched() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    let newer = [&[2][..], &[7; 57]].concat();
    let set: [&[u8]; 4] = [b"HSET", RECORD.as_bytes(), b"m", &newer];
    server.command(&set).await;
    let enqueued = rig.storage.enqueue(enqueue(1, 1, b"a")).await;
    let Err(StorageError::Unavailable(why)) = enqueued else {
        panic!("{enqueued:?}");
    };
    assert!(why.contains("newer format"), "{why}");
    let refreshed = rig.storage.refresh(&[(user_agent(1), seat(1))]).await.unwrap();
    assert_eq!(refreshed, [Refreshed::Trouble]);
    let get: [&[u8]; 3] = [b"HGET", RECORD.as_bytes(), b"m"];
    assert_eq!(server.command(&get).await, Reply::Bytes(newer));
}

/// PR-31: steps that take memory are refused when Redis has none left, those that free it go on.
#[tokio::test]
async fn without_memory_what_waits_can_still_be_fetched() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    let stored = rig.stored(enqueue(1, 1, b"a")).await;
    server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .expect_ok();
    let full = rig.storage.enqueue(enqueue(1, 1, b"b")).await;
    assert!(matches!(full, Err(StorageError::Full)), "{full:?}");
    let full = rig.storage.subscribe(subscribe(1, 2)).await;
    assert!(matches!(full, Err(StorageError::Full)), "{full:?}");
    assert_eq!(rig.waiting(1).await, [stored]);
    assert_eq!(rig.acknowledged(1, &[stored]).await, [true]);
    rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .expect_ok();
    rig.subscribed(1, 3).await;
}

/// PR-31: each step runs one script; Redis runs nothing else for it.
#[tokio::test]
async fn a_step_is_one_script() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    server.command(&["CONFIG", "RESETSTAT"]).await.expect_ok();
    let stored = rig.stored(enqueue(1, 1, b"a")).await;
    rig.acknowledged(1, &[stored]).await;
    let of = async |command: &str| {
        server
            .command_stats()
            .await
            .get(command)
            .map_or(0, |stats| stats.calls)
    };
    // The first run of each is a failed EVALSHA and the EVAL that loads it. Beside the steps, a node says with one script that
    // it is there, and with another what it counted.
    let (evalsha, eval) = (of("evalsha").await, of("eval").await);
    assert!(eval <= 4 && evalsha >= 2, "{evalsha} EVALSHA, {eval} EVAL");
    let mut seen = Vec::new();
    while !seen.contains(&(1, 0)) {
        assert!(seen.len() < 20, "a script is loaded once: {seen:?}");
        let (evalsha, eval) = (of("evalsha").await, of("eval").await);
        rig.stored(enqueue(1, 1, b"b")).await;
        seen.push((of("evalsha").await - evalsha, of("eval").await - eval));
    }
}

/// PR-24, PR-32: a rate and the limits of a queue hold over nodes, because they are decided inside the step.
#[tokio::test]
async fn a_rate_holds_over_nodes() {
    let (server, one) = store().await;
    let other = open_with(&server.url(), OWN + 1, "push".to_owned()).await;
    one.subscribed(1, 1).await;
    let rated = |body| Enqueue {
        rate: Some(crate::storage::Rate {
            per_second: 0.1,
            burst: 2.0,
        }),
        ..enqueue(1, 1, body)
    };
    one.stored(rated(b"a")).await;
    other.stored(rated(b"b")).await;
    let third = one.storage.enqueue(rated(b"c")).await.unwrap();
    assert!(matches!(third, Enqueued::RateLimited { .. }), "{third:?}");
}

/// PR-9, PR-43: of a subscription that has ended nothing stays in the orders of a full queue, whether its messages were acknowledged,
/// its only message was refused, or it never had one; else registering again and again would fill the store.
#[tokio::test]
async fn a_full_queue_forgets_ended_subscriptions() {
    const SUMS: &str = "push:{004}:x:01010101010101010101010101010101";
    let (server, rig) = store().await;
    for n in 1..=10 {
        rig.subscribed(1, n).await;
    }
    let within = |bytes, n, body| Enqueue {
        queue_limits: QueueLimits { messages: 8, bytes },
        ..enqueue(1, n, body)
    };
    // The orders are made when the ninth message comes.
    for (n, body) in [
        (1, b"a"),
        (1, b"b"),
        (3, b"c"),
        (4, b"d"),
        (5, b"e"),
        (6, b"f"),
        (7, b"g"),
        (8, b"h"),
    ] {
        rig.stored(within(1 << 20, n, body)).await;
    }
    let acknowledged = rig.stored(within(1 << 20, 2, b"i")).await;
    rig.acknowledged(1, &[acknowledged]).await;
    let large = [0; 4_096];
    let refused = rig.storage.enqueue(within(2_048, 9, &large)).await.unwrap();
    assert!(matches!(refused, Enqueued::QueueFull), "{refused:?}");
    let before = server.command(&["ZCARD", SUMS]).await.integer();
    assert!(before > 0, "the orders stand");
    for n in [2, 9, 10] {
        assert!(
            rig.storage
                .unsubscribe(user_agent(1), name(n))
                .await
                .unwrap()
                .is_some()
        );
    }
    for n in [2, 9, 10] {
        let sum = format!("s{}", char::from(n).to_string().repeat(8));
        let score = server.command(&["ZSCORE", SUMS, &sum]).await;
        assert!(matches!(score, Reply::Nothing), "{n}: {score:?}");
    }
    assert_eq!(server.command(&["ZCARD", SUMS]).await.integer(), before - 2);
}

/// PR-35, PR-37: nodes of a store know of each other, and of one that has left no more.
#[tokio::test]
async fn nodes_know_of_each_other() {
    let (server, one) = store().await;
    let other = open_with(&server.url(), OWN + 1, "push".to_owned()).await;
    other.announcements.heard().await;
    let others = async || one.storage.others().await.unwrap();
    while others().await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(others().await, 1);
    other.storage.close().await.unwrap();
    assert_eq!(others().await, 0);
}

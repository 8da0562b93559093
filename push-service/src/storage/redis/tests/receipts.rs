//! Receipts as they stand in Redis: what they cost, how long they are kept, and who is told when.

use std::sync::Arc;
use std::time::Duration;

use push_protocol::capability::{Capabilities, Dialect, KeyId, SealingKey};
use push_protocol::origin::Origin;
use push_protocol::{MessageId, ReceiptOutcome, SubscriptionId, SubscriptionName, Ttl, UserAgentId};
use push_tests::redis::{Cluster, Configuration, Server, until};

use super::super::keys::bucket_of;
use super::{OWN, open_with, open_with_replicas};
use crate::broker::{Broker, Outboxes, Policy};
use crate::config::Limits;
use crate::defaults::{RECEIPT_KEPT, RECEIPT_LEASE};
use crate::metrics::Metrics;
use crate::storage::contract::{Rig, enqueue, everything, seat, subscribe, user_agent};
use crate::storage::{
    Caps, Confirm, Ending, Enqueue, ExpectReceipt, MessageEnd, ReceiptExpected, Removal, StorageError,
    Subscribe, Traced, WakeUp,
};

/// The receipt subscription of these tests, and what it expects.
const RECEIPTS: u8 = 9;
const EXPECTS: &str = "push:{024}:e:09090909090909090909090909090909";
const DEADLINES: &str = "push:{024}:expected";
/// What user agent 1 has of receipts, and of its queue.
const OUTBOX: &str = "push:{004}:o:01010101010101010101010101010101";
const DUES: &str = "push:{004}:d:01010101010101010101010101010101";
const OWING: &str = "push:{004}:owing";
const INDEX: &str = "push:{004}:i:01010101010101010101010101010101";
const BODIES: &str = "push:{004}:q:01010101010101010101010101010101";

async fn store() -> (Server, Rig) {
    let server = Server::start(Configuration::new()).await;
    let rig = open_with(&server.url(), OWN, "push".to_owned()).await;
    (server, rig)
}

/// Two nodes on one store: the first has the seats, the second takes the requests.
async fn two() -> (Server, Rig, Rig) {
    let (server, holder) = store().await;
    let sender = open_with(&server.url(), OWN + 1, "push".to_owned()).await;
    holder.announcements.heard().await;
    sender.announcements.heard().await;
    (server, holder, sender)
}

async fn monitored(rig: &Rig) {
    let request = Subscribe {
        name: SubscriptionName([0; 16]),
        fresh_id: SubscriptionId([0; 8]),
        ..subscribe(RECEIPTS, 0)
    };
    rig.storage.subscribe(request).await.unwrap();
}

fn asking(body: &[u8]) -> Enqueue {
    Enqueue {
        receipts: Some(user_agent(RECEIPTS)),
        ..enqueue(1, 1, body)
    }
}

fn expected(nonce: u64) -> ExpectReceipt {
    ExpectReceipt {
        user_agent: user_agent(1),
        nonce,
        dialect: Dialect::Rfc8030,
        sealed_by: KeyId(5),
        within: Duration::from_secs(600),
        limit: 1_000,
    }
}

fn outcome(id: MessageId, how: ReceiptOutcome) -> MessageEnd {
    MessageEnd {
        receipts: user_agent(RECEIPTS),
        user_agent: user_agent(1),
        id,
        how,
    }
}

async fn remaining(server: &Server, key: &str) -> Duration {
    let left = server.command(&["PTTL", key]).await.integer();
    Duration::from_millis(u64::try_from(left).unwrap_or_else(|_| panic!("{key} has no expiry: {left}")))
}

async fn exist(server: &Server, keys: &[&str]) -> i64 {
    server.command(&[&["EXISTS"], keys].concat()).await.integer()
}

/// PR-29: all that is kept of receipts expires, and long after the messages, so that nodes which were all away still find
/// it. Carried over and settled, nothing of it is left.
#[tokio::test]
async fn what_is_kept_of_receipts_expires() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    monitored(&rig).await;
    let day = Duration::from_secs(86_400);
    let request = asking(b"a");
    let expect = rig
        .storage
        .expect_receipt(user_agent(RECEIPTS), expected(request.nonce));
    assert_eq!(expect.await.unwrap(), ReceiptExpected::Recorded);
    let id = rig.stored(request).await;
    for key in [OUTBOX, DUES, OWING, EXPECTS, DEADLINES] {
        let left = remaining(&server, key).await;
        assert!(
            left > RECEIPT_KEPT && left < (RECEIPT_KEPT + day) * 2,
            "{key}: {left:?}"
        );
    }
    assert!(remaining(&server, OUTBOX).await > RECEIPT_KEPT + day - Duration::from_secs(60));
    rig.acknowledged(1, &[id]).await;
    let outcomes = rig.storage.outbox(user_agent(1), 10).await.unwrap();
    rig.storage
        .settle_receipts(user_agent(RECEIPTS), &outcomes)
        .await
        .unwrap();
    rig.storage.clear_outbox(user_agent(1), &[id]).await.unwrap();
    let left = exist(&server, &[OUTBOX, DUES, OWING, EXPECTS, DEADLINES]).await;
    assert_eq!(left, 0);
}

/// PR-25: what Redis let expire without a word is given up all the same: found, told, and told from what was never stored.
#[tokio::test]
async fn what_vanished_is_given_up() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    let brief = |body| Enqueue {
        ttl: Ttl::from_secs(60),
        ..asking(body)
    };
    let ids = [rig.stored(brief(b"a")).await, rig.stored(brief(b"b")).await];
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), []);
    server.command(&["UNLINK", INDEX, BODIES]).await;
    rig.advance(Duration::from_secs(600));
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), [user_agent(1)]);
    let given_up = ids.map(|id| outcome(id, ReceiptOutcome::GivenUp));
    let traced = rig.storage.trace(user_agent(1), ids[0].nonce).await.unwrap();
    assert_eq!(traced, Traced::Ended(given_up[0]));
    assert_eq!(rig.storage.outbox(user_agent(1), 10).await.unwrap(), given_up);
    assert_eq!(
        rig.storage.trace(user_agent(1), 7).await.unwrap(),
        Traced::Nothing
    );
}

/// PR-25: a message that is passed on and not acknowledged is found when its time is over, though others wait for longer.
#[tokio::test]
async fn what_was_passed_on_is_found_in_time() {
    let (_server, rig) = store().await;
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let waits = rig.stored(asking(b"waits")).await;
    let passing = Enqueue {
        ttl: Ttl::ZERO,
        ..asking(b"passes")
    };
    rig.storage.enqueue(passing.clone()).await.unwrap();
    rig.storage.clear_outbox(user_agent(1), &[waits]).await.unwrap();
    rig.advance(crate::defaults::ACKNOWLEDGE_WITHIN);
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), [user_agent(1)]);
    let outcomes = rig.storage.outbox(user_agent(1), 10).await.unwrap();
    let ends: Vec<_> = outcomes.iter().map(|o| (o.id.nonce, o.how)).collect();
    assert_eq!(ends, [(passing.nonce, ReceiptOutcome::GivenUp)]);
}

/// PR-25: a message without a receipt costs Redis no command for it, stored, replaced or acknowledged.
#[tokio::test]
async fn without_a_receipt_it_costs_nothing() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    let first = rig.stored(enqueue(1, 1, b"a")).await;
    rig.acknowledged(1, &[first]).await;
    server.command(&["CONFIG", "RESETSTAT"]).await.expect_ok();
    let stored = rig.stored(enqueue(1, 1, b"b")).await;
    rig.acknowledged(1, &[stored]).await;
    let stats = server.command_stats().await;
    let calls = |command: &str| stats.get(command).map_or(0, |stats| stats.calls);
    let within = ["hmget", "hget", "hset", "pexpire", "unlink"].map(calls);
    assert_eq!(within, [1, 2, 3, 1, 1], "{stats:?}");
    for command in ["exists", "pttl", "hdel"] {
        assert_eq!(calls(command), 0, "{command}");
    }
    assert_eq!(exist(&server, &[OUTBOX, DUES, OWING]).await, 0);
}

/// PR-25, PR-31: however many messages end with their subscription set, no step gives up more than its share, and sweeps
/// give up the rest.
#[tokio::test]
async fn a_long_queue_is_given_up_in_bounded_steps() {
    const MESSAGES: usize = 250;
    let (_server, rig) = store().await;
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    for n in 0..MESSAGES as u64 {
        let message = Enqueue {
            nonce: n,
            ..asking(b"a")
        };
        rig.stored(message).await;
    }
    assert!(rig.storage.end(user_agent(1), Ending::All).await.unwrap());
    let traced = rig
        .storage
        .trace(user_agent(1), MESSAGES as u64 - 1)
        .await
        .unwrap();
    assert!(
        matches!(traced, Traced::Ended(_)),
        "what is not given up yet is not settled: {traced:?}"
    );
    while rig.storage.expire(60).await.unwrap().total() > 0 {}
    let mut given_up = 0;
    loop {
        let some = rig.storage.outbox(user_agent(1), 1_000).await.unwrap();
        if some.is_empty() {
            break;
        }
        assert!(some.len() <= 100 && some.iter().all(|o| o.how == ReceiptOutcome::GivenUp));
        given_up += some.len();
        let ids: Vec<_> = some.iter().map(|o| o.id).collect();
        rig.storage.clear_outbox(user_agent(1), &ids).await.unwrap();
    }
    assert_eq!(given_up, MESSAGES);
}

/// PR-12, PR-13: who holds the seat at another node is told which subscription ended, or that all did.
#[tokio::test]
async fn an_end_is_told_to_the_other_node() {
    let (_server, holder, sender) = two().await;
    holder.subscribed(1, 1).await;
    holder.subscribed(1, 2).await;
    let id = holder.stored(enqueue(1, 1, b"a")).await;
    holder.attached(1, seat(1)).await;
    let one = SubscriptionId([1; 8]);
    for (ending, which) in [(Ending::One(one), Some(one)), (Ending::All, None)] {
        assert!(sender.storage.end(user_agent(1), ending).await.unwrap());
        let told = holder.announcements.next().await;
        if which.is_some() {
            assert!(
                matches!(&told.2, WakeUp::Removed(ids) if *ids == [id]),
                "{told:?}"
            );
            let told = holder.announcements.next().await;
            assert!(
                matches!(told.2, WakeUp::Ended(ended) if ended == which),
                "{told:?}"
            );
        } else if matches!(told.2, WakeUp::Removed(_)) {
            // The message that ended before is not swept yet.
            let told = holder.announcements.next().await;
            assert!(matches!(told.2, WakeUp::Ended(None)), "{told:?}");
        }
    }
    assert!(sender.announcements.take().is_empty());
}

/// PR-1, PR-13: a monitor of receipts at another node is told when there is one.
#[tokio::test]
async fn a_receipt_wakes_the_other_node() {
    let (_server, holder, sender) = two().await;
    monitored(&holder).await;
    holder.attached(RECEIPTS, seat(1)).await;
    let expect = sender.storage.expect_receipt(user_agent(RECEIPTS), expected(7));
    expect.await.unwrap();
    let id = MessageId {
        nonce: 7,
        ..MessageId::from_bytes([0; 16])
    };
    let outcomes = [outcome(id, ReceiptOutcome::Acknowledged)];
    sender
        .storage
        .settle_receipts(user_agent(RECEIPTS), &outcomes)
        .await
        .unwrap();
    let (agent, told, wake_up) = holder.announcements.next().await;
    assert_eq!((agent, told), (user_agent(RECEIPTS), seat(1)));
    assert!(matches!(wake_up, WakeUp::ReadAgain), "{wake_up:?}");
    assert_eq!(
        holder.page(RECEIPTS, seat(1), everything()).await.messages.len(),
        1
    );
}

/// PR-1, PR-33: what is not confirmed is not answered: neither that a receipt is expected, nor what became of a message.
/// A receipt that is not confirmed is not announced.
#[tokio::test]
async fn an_unconfirmed_receipt_is_not_announced() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    monitored(&rig).await;
    rig.attached(RECEIPTS, seat(1)).await;
    let id = rig.stored(asking(b"a")).await;
    let expect = rig
        .storage
        .expect_receipt(user_agent(RECEIPTS), expected(id.nonce));
    expect.await.unwrap();
    rig.acknowledged(1, &[id]).await;
    rig.announcements.take();

    let confirmed = open_with_replicas(&server.url(), OWN, "push".to_owned(), 1).await;
    let storage = &confirmed.storage;
    let acknowledged = [outcome(id, ReceiptOutcome::Acknowledged)];
    let unconfirmed = [
        storage
            .expect_receipt(user_agent(RECEIPTS), expected(8))
            .await
            .map(drop),
        storage.outbox(user_agent(1), 10).await.map(drop),
        storage.trace(user_agent(1), id.nonce).await.map(drop),
        storage.settle_receipts(user_agent(RECEIPTS), &acknowledged).await,
    ];
    for (at, unconfirmed) in unconfirmed.into_iter().enumerate() {
        assert!(
            matches!(unconfirmed, Err(StorageError::Unavailable(_))),
            "step {at}: {unconfirmed:?}"
        );
    }
    assert!(confirmed.announcements.take().is_empty() && rig.announcements.take().is_empty());
}

/// PR-3: where the mark of the format is missing, no peer is told that a message was given up or a subscription is unknown.
#[tokio::test]
async fn without_its_mark_nothing_is_given_up() {
    let (server, rig) = store().await;
    let mark = |agent| {
        format!(
            "push:{{{}}}",
            String::from_utf8_lossy(&bucket_of(user_agent(agent)).tag())
        )
    };
    for agent in [1, RECEIPTS] {
        server.command(&["DEL", &mark(agent)]).await;
    }
    let storage = &rig.storage;
    let receipts: UserAgentId = user_agent(RECEIPTS);
    let troubles = [
        storage.end(user_agent(1), Ending::All).await.map(drop),
        storage
            .has_subscription(user_agent(1), SubscriptionId([1; 8]))
            .await
            .map(drop),
        storage.trace(user_agent(1), 7).await.map(drop),
        storage.outbox(user_agent(1), 10).await.map(drop),
        storage
            .clear_outbox(user_agent(1), &[MessageId::from_bytes([1; 16])])
            .await,
        storage.expect_receipt(receipts, expected(7)).await.map(drop),
        storage
            .settle_receipts(
                receipts,
                &[outcome(MessageId::from_bytes([1; 16]), ReceiptOutcome::GivenUp)],
            )
            .await,
    ];
    for (at, trouble) in troubles.into_iter().enumerate() {
        let Err(StorageError::Unavailable(why)) = trouble else {
            panic!("step {at} was answered: {trouble:?}");
        };
        assert!(why.contains("lost the mark"), "{why}");
    }
}

/// PR-31: without memory no receipt is promised any more, and those that are can be settled.
#[tokio::test]
async fn without_memory_receipts_are_settled() {
    let (server, rig) = store().await;
    rig.subscribed(1, 1).await;
    monitored(&rig).await;
    let id = rig.stored(asking(b"a")).await;
    let expect = async |nonce| {
        rig.storage
            .expect_receipt(user_agent(RECEIPTS), expected(nonce))
            .await
    };
    expect(id.nonce).await.unwrap();
    server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .expect_ok();
    let full = expect(8).await;
    assert!(matches!(full, Err(StorageError::Full)), "{full:?}");
    assert_eq!(rig.acknowledged(1, &[id]).await, [true]);
    let outcomes = rig.storage.outbox(user_agent(1), 10).await.unwrap();
    assert_eq!(outcomes, [outcome(id, ReceiptOutcome::Acknowledged)]);
    rig.storage
        .settle_receipts(user_agent(RECEIPTS), &outcomes)
        .await
        .unwrap();
    rig.storage.clear_outbox(user_agent(1), &[id]).await.unwrap();
    assert_eq!(rig.waiting(RECEIPTS).await.len(), 1);
}

/// PR-25, PR-32: while the slot of a user agent moves and its outbox is elsewhere, an acknowledgement waits for it, and is
/// done whole.
#[tokio::test]
async fn an_outbox_that_moves_is_waited_for() {
    let cluster = Cluster::start(3, 0).await;
    let rig = open_with(&cluster.url(), OWN, "push".to_owned()).await;
    rig.subscribed(1, 1).await;
    let ids = [rig.stored(asking(b"a")).await, rig.stored(asking(b"b")).await];
    let slot = cluster.slot_of(OUTBOX).await;
    let owner = cluster.owner_of_slot(slot).await;
    let migration = cluster.begin_migration(slot, (owner + 1) % 3).await;
    let target = cluster.servers()[(owner + 1) % 3].address();
    let (host, port) = (target.ip().to_string(), target.port().to_string());
    let migrate = ["MIGRATE", &host, &port, OUTBOX, "0", "5000"];
    let server = &cluster.servers()[owner];
    server.command(&migrate).await.expect_ok();
    server.command(&["CONFIG", "RESETSTAT"]).await.expect_ok();

    let acknowledge = rig.storage.acknowledge(
        user_agent(1),
        &ids[..1],
        Removal::Acknowledged,
        Confirm::Durably,
        None,
    );
    let finish = async {
        let put_off = async || server.info("errorstats").await.remove("errorstat_TRYAGAIN");
        until("the step is put off", put_off).await;
        while cluster.migrate_keys(migration, 100).await > 0 {}
        cluster.end_migration(migration).await;
    };
    let (there, ()) = tokio::join!(acknowledge, finish);
    assert_eq!(there.unwrap(), [true]);
    let outcomes = rig.storage.outbox(user_agent(1), 10).await.unwrap();
    assert_eq!(outcomes, [outcome(ids[0], ReceiptOutcome::Acknowledged)]);
    assert_eq!(rig.waiting(1).await, ids[1..]);
}

/// PR-25: a look for overdue receipts shares its limit among all buckets, and the next one continues where it ended:
/// receipts in a low bucket never block those in a high one.
#[tokio::test]
async fn high_buckets_have_their_turn() {
    let (_server, rig) = store().await;
    let receipts = [RECEIPTS, 200];
    for n in receipts {
        let request = Subscribe {
            name: SubscriptionName([0; 16]),
            fresh_id: SubscriptionId([0; 8]),
            ..subscribe(n, 0)
        };
        rig.storage.subscribe(request).await.unwrap();
        for nonce in 1..=20 {
            let expect = rig.storage.expect_receipt(user_agent(n), expected(nonce));
            assert_eq!(expect.await.unwrap(), ReceiptExpected::Recorded);
        }
        rig.subscribed(n + 1, n + 1).await;
        let asking = Enqueue {
            receipts: Some(user_agent(RECEIPTS)),
            ..enqueue(n + 1, n + 1, b"a")
        };
        let id = rig.stored(asking).await;
        rig.acknowledged(n + 1, &[id]).await;
    }
    rig.advance(Duration::from_secs(600));
    for limit in [4, 3] {
        let overdue = rig.storage.overdue(limit).await.unwrap();
        assert_eq!(overdue.len(), limit);
        for n in receipts {
            let of_this = overdue.iter().filter(|one| one.receipts == user_agent(n)).count();
            assert!(of_this >= limit / 2, "{n}: {overdue:?}");
        }
    }
    let mut one_by_one = Vec::new();
    for _ in 0..2 {
        one_by_one.extend(
            rig.storage
                .overdue(1)
                .await
                .unwrap()
                .iter()
                .map(|one| one.receipts),
        );
    }
    one_by_one.sort_unstable();
    assert_eq!(one_by_one, receipts.map(user_agent));
    let mut owing = Vec::new();
    for _ in 0..2 {
        owing.extend(rig.storage.with_outbox(1).await.unwrap());
    }
    owing.sort_unstable();
    assert_eq!(owing, receipts.map(|n| user_agent(n + 1)));
}

/// PR-25: a receipt whose message can't be looked up does not stop others from being settled.
#[tokio::test]
async fn trouble_with_one_overdue_receipt_is_not_the_others() {
    let (server, rig) = store().await;
    monitored(&rig).await;
    for n in 1..=4 {
        rig.subscribed(n, n).await;
        let owed = ExpectReceipt {
            user_agent: user_agent(n),
            ..expected(u64::from(n))
        };
        let expect = rig.storage.expect_receipt(user_agent(RECEIPTS), owed);
        assert_eq!(expect.await.unwrap(), ReceiptExpected::Recorded);
    }
    // The record of the second is made unreadable.
    let record = "push:{008}:r:02020202020202020202020202020202";
    assert_eq!(server.command(&["HDEL", record, "m"]).await.integer(), 1);
    rig.advance(Duration::from_secs(600));
    // Nor does an error with the outboxes of a bucket.
    server.command(&["SET", OWING, "no sorted set"]).await.expect_ok();
    let (broker, _) = broker(&rig);
    broker.look_for_receipts(&Outboxes::default()).await;
    rig.advance(RECEIPT_LEASE);
    let left = rig.storage.overdue(10).await.unwrap();
    let left: Vec<_> = left.iter().map(|one| one.user_agent).collect();
    assert_eq!(left, [user_agent(2)]);
}

/// A node without listeners, and its metrics.
fn broker(rig: &Rig) -> (Broker, Arc<Metrics>) {
    let metrics: Arc<Metrics> = Arc::default();
    let policy = Policy {
        subscriptions_per_user_agent: 10,
        require_vapid: false,
        application_servers: Default::default(),
        ttl: Ttl::from_secs(60),
        queue_limits: Limits::default().queue_limits(),
        caps: Caps::default(),
        rate: None,
    };
    let broker = Broker::new(
        Arc::clone(&rig.storage),
        Arc::new(Capabilities::new(&[SealingKey::from_random([7; 32])]).unwrap()),
        Origin::parse("https://push.example").unwrap(),
        policy,
        Arc::clone(&metrics),
    );
    (broker, metrics)
}

/// PR-25: one look settles hundreds of overdue receipts, those of one receipt subscription together.
#[tokio::test]
async fn overdue_receipts_are_settled_together() {
    const OWED: u64 = 250;
    let (_server, rig) = store().await;
    monitored(&rig).await;
    rig.subscribed(1, 1).await;
    for nonce in 1..=OWED {
        let expect = rig.storage.expect_receipt(user_agent(RECEIPTS), expected(nonce));
        assert_eq!(expect.await.unwrap(), ReceiptExpected::Recorded);
    }
    rig.advance(Duration::from_secs(600));
    let (broker, metrics) = broker(&rig);
    broker.look_for_receipts(&Outboxes::default()).await;
    let name = "push_service_storage_step_duration_seconds_count{step=\"receipt\"} ";
    let text = metrics.render();
    let steps = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let steps: u64 = steps.parse().unwrap();
    assert!((OWED..OWED + OWED / 4).contains(&steps), "{steps} steps");
    rig.advance(RECEIPT_LEASE);
    assert_eq!(rig.storage.overdue(10).await.unwrap(), []);
}

/// PR-25: a bucket in trouble does not keep overdue receipts of others from being found.
#[tokio::test]
async fn a_bucket_in_trouble_is_not_the_others() {
    let (server, rig) = store().await;
    for n in [RECEIPTS, 200] {
        let request = Subscribe {
            name: SubscriptionName([0; 16]),
            fresh_id: SubscriptionId([0; 8]),
            ..subscribe(n, 0)
        };
        rig.storage.subscribe(request).await.unwrap();
        let expect = rig.storage.expect_receipt(user_agent(n), expected(1));
        assert_eq!(expect.await.unwrap(), ReceiptExpected::Recorded);
    }
    rig.advance(Duration::from_secs(600));
    // The mark of the first one's bucket is lost.
    assert_eq!(server.command(&["DEL", "push:{024}"]).await.integer(), 1);
    let overdue = rig.storage.overdue(10).await.unwrap();
    let found: Vec<_> = overdue.iter().map(|one| one.receipts).collect();
    assert_eq!(found, [user_agent(200)]);
}

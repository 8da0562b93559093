//! A slot of a cluster that stays half moved.

use push_protocol::UserAgentId;
use push_tests::redis::Cluster;

use super::super::keys::bucket_of;
use super::{OWN, open_with};
use crate::storage::Enqueue;
use crate::storage::contract::{Rig, enqueue, topic, user_agent};

/// Four user agents in four slots of the first primary.
fn in_first() -> Vec<(u8, u16)> {
    let slot = |n: u8| (n, bucket_of(UserAgentId([n; 16])).slot());
    (0..16)
        .map(slot)
        .filter(|(_, slot)| *slot < 5_000)
        .take(4)
        .collect()
}

async fn serves(rig: &Rig, n: u8, before: &[push_protocol::MessageId]) {
    let mut waiting = before.to_vec();
    for body in [&b"one"[..], b"two"] {
        waiting.push(rig.stored(enqueue(n, n, body)).await);
    }
    assert_eq!(rig.waiting(n).await, waiting);
    assert_eq!(rig.acknowledged(n, &waiting).await, vec![true; waiting.len()]);
    assert!(rig.waiting(n).await.is_empty());
}

/// PR-32, PR-39: while a slot is half moved, a user agent with nothing waiting, with exactly one message, and with a message that is
/// replaced is served; confirmed messages are delivered, and sums match the waiting messages.
#[tokio::test]
async fn a_slot_that_stays_half_moved_refuses_no_user_agent() {
    let cluster = Cluster::start(3, 0).await;
    let rig = open_with(&cluster.url(), OWN, "push".to_owned()).await;
    let agents = in_first();
    let [(idle, _), (sole, _), (replaced, _), (mixed, _)] = agents[..] else {
        panic!("too few user agents in this shard: {agents:?}");
    };
    for (n, _) in &agents {
        rig.subscribed(*n, *n).await;
    }
    let one = rig.stored(enqueue(sole, sole, b"sole")).await;
    let with_topic = |n: u8, body: &[u8]| Enqueue {
        topic: topic("a"),
        ..enqueue(n, n, body)
    };
    rig.stored(with_topic(replaced, b"old")).await;
    let first = rig.stored(enqueue(mixed, mixed, b"first")).await;
    let second = rig.stored(enqueue(mixed, mixed, b"second")).await;
    let mut migrations = Vec::new();
    for (_, slot) in &agents {
        migrations.push(cluster.begin_migration(*slot, 1).await);
    }
    cluster.migrate_keys(migrations[3], 2).await;

    serves(&rig, idle, &[]).await;
    serves(&rig, sole, &[one]).await;
    // The rig draws a message's nonce from its body, so each has another one.
    for body in [&b"new"[..], b"newer", b"newest"] {
        rig.stored(with_topic(replaced, body)).await;
    }
    let report = rig.storage.inspect(user_agent(replaced)).await.unwrap().unwrap();
    assert_eq!((report.messages, rig.waiting(replaced).await.len()), (1, 1));
    serves(&rig, mixed, &[first, second]).await;

    for migration in migrations {
        while cluster.migrate_keys(migration, 10).await > 0 {}
        cluster.end_migration(migration).await;
    }
    assert_eq!(rig.waiting(replaced).await.len(), 1);
    for n in [idle, sole, mixed] {
        serves(&rig, n, &[]).await;
    }
}

//! What was confirmed is there after a restart, in the same shape.

use std::time::Duration;

use push_protocol::{KeyDigest, Ttl};

use super::*;
use crate::storage::contract::{enqueue, name, seat, subscribe, user_agent};

/// PR-1: subscriptions, messages, their order, topics and shares, and the gauges outlive a restart; seats do not.
#[tokio::test]
async fn a_restart_keeps_everything_but_seats() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    let restricted = Subscribe {
        key: Some(KeyDigest([8; 32])),
        ..subscribe(1, 2)
    };
    rig.storage.subscribe(restricted).await.unwrap();
    let first = rig.stored(enqueue(1, 1, b"first")).await;
    let topical = Enqueue {
        topic: push_protocol::Topic::parse("t"),
        ..enqueue(1, 2, b"old")
    };
    rig.stored(topical.clone()).await;
    let before = rig.attached(1, seat(1)).await;
    let report = rig.storage.inspect(user_agent(1)).await.unwrap().unwrap();
    let usage = rig.usage().await;
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.usage().await, usage);
    let again = rig.storage.inspect(user_agent(1)).await.unwrap().unwrap();
    assert_eq!((again.messages, again.bytes), (report.messages, report.bytes));
    assert_eq!(again.last_number, report.last_number);
    assert!(report.seated && !again.seated);
    assert!(again.subscriptions[1].restricted);
    let after = rig.attached(1, seat(2)).await;
    assert_eq!(after.messages, before.messages);

    let new = rig.stored(topical).await;
    assert_eq!(rig.waiting(1).await, [first, new]);
    rig.storage.close().await.unwrap();
}

/// PR-30: after a restart with the wall clock set back, time goes on from where it was.
#[tokio::test]
async fn a_restart_with_the_wall_clock_behind_goes_on_from_the_mark() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    rig.advance(Duration::from_secs(7_200));
    let brief = Enqueue {
        ttl: Ttl::from_secs(60),
        ..enqueue(1, 1, b"brief")
    };
    let id = rig.stored(brief).await;
    rig.storage.close().await.unwrap();

    // Its wall clock is where the first one's was at first.
    let rig = open_in(directory.path(), Arc::default());
    rig.advance(Duration::from_secs(59));
    assert_eq!(rig.waiting(1).await, [id]);
    rig.advance(Duration::from_secs(1));
    assert_eq!(rig.waiting(1).await, []);
    let next = rig.stored(enqueue(1, 1, b"next")).await;
    assert!(next.number > id.number);
    rig.storage.close().await.unwrap();
}

/// PR-9: the messages of a subscription that ended just before a crash are neither delivered nor kept.
#[tokio::test]
async fn what_an_ended_subscription_left_is_freed_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    rig.stored(enqueue(1, 1, b"ended")).await;
    let kept = rig.stored(enqueue(1, 2, b"kept")).await;
    rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.waiting(1).await, [kept]);
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 1);
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 0);
    rig.storage.close().await.unwrap();
}

/// What is due is found after a restart, without looking at what is not.
#[tokio::test]
async fn expiry_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    for agent in [1, 2] {
        rig.subscribed(agent, 1).await;
        let brief = Enqueue {
            ttl: Ttl::from_secs(u64::from(agent) * 100),
            ..enqueue(agent, 1, b"x")
        };
        rig.stored(brief).await;
    }
    rig.storage.close().await.unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.advance(Duration::from_secs(100));
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 1);
    assert_eq!(rig.usage().await.messages, 1);
    assert_eq!(rig.waiting(2).await.len(), 1);
    rig.storage.close().await.unwrap();
}

/// PR-30, PR-7: time does not move backwards across a restart, and no number is given twice, even when the message that
/// had it is gone.
#[tokio::test]
async fn time_does_not_move_backwards_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    rig.advance(Duration::from_secs(3_600));
    let before = rig.stored(enqueue(1, 1, b"a")).await;
    rig.acknowledged(1, &[before]).await;
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    let after = rig.stored(enqueue(1, 1, b"b")).await;
    assert!(after.number > before.number, "{after:?} after {before:?}");
    let page = rig.attached(1, seat(1)).await;
    assert_eq!(page.messages[0].remaining_ms, 86_400_000);
    rig.storage.close().await.unwrap();
}

/// PR-28: the sealing key that the store was given is there after a restart.
#[tokio::test]
async fn the_sealing_key_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let announce: Arc<dyn Announce> = Arc::new(crate::storage::contract::Announcements::default());
    for before in [None, Some([1; 32])] {
        let options = Options::new(directory.path(), Arc::clone(&announce));
        let store = Embedded::open(options).unwrap();
        assert_eq!(store.sealing_key().await.unwrap(), before);
        if before.is_none() {
            store.keep_sealing_key([1; 32]).await.unwrap();
        }
        store.close().await.unwrap();
    }
}

/// PR-4: an acknowledgement without a waiting caller is synced soon all the same, and needs no other write for it.
#[tokio::test]
async fn an_unanswered_acknowledgement_is_synced_soon() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"a")).await;
    let before = disk.syncs.load(Ordering::SeqCst);
    let (agent, ids, removal) = (user_agent(1), [id], Removal::Acknowledged);
    let removed = rig.storage.acknowledge(agent, &ids, removal, Confirm::Soon, None);
    assert_eq!(removed.await.unwrap(), [true]);
    let asked = std::time::Instant::now();
    while disk.syncs.load(Ordering::SeqCst) == before {
        assert!(asked.elapsed() < Duration::from_secs(5), "it is never synced");
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.waiting(1).await, []);
    rig.storage.close().await.unwrap();
}

/// Steps on user agents that were never seen, all at once, load each of them once and do not mix with other writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_touches_do_not_race() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    for agent in 0..20 {
        rig.subscribed(agent, 1).await;
    }
    rig.storage.close().await.unwrap();
    let rig = open_in(directory.path(), Arc::default());
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..400_u16 {
        let storage = Arc::clone(&rig.storage);
        senders.spawn(async move {
            let request = enqueue((n % 20) as u8, 1, &n.to_be_bytes());
            storage.enqueue(request).await.unwrap()
        });
    }
    senders.join_all().await;
    for agent in 0..20 {
        let waiting = rig.waiting(agent).await;
        assert_eq!(waiting.len(), 20);
        assert!(waiting.is_sorted());
    }
    assert_eq!(rig.usage().await.messages, 400);
    rig.storage.close().await.unwrap();
}

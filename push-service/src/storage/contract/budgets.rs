//! A full queue costs only the sender that filled it, and a rate holds.

use std::time::Duration;

use push_protocol::{Ttl, Urgency};

use super::rig::{Rig, START_US, enqueue, seat, topic};
use crate::defaults::{EVICTIONS_PER_STEP, MESSAGE_OVERHEAD_BYTES};
use crate::storage::{Enqueue, Enqueued, QueueLimits, Rate};

fn queue_limits(messages: u32) -> QueueLimits {
    QueueLimits {
        messages,
        bytes: u64::MAX,
    }
}

fn limited(n: u8, body: &[u8], messages: u32) -> Enqueue {
    Enqueue {
        queue_limits: queue_limits(messages),
        ..enqueue(1, n, body)
    }
}

/// PR-23: a full queue evicts from the subscription with the most bytes, its oldest message first, whatever the urgency of the
/// new message. The seat is told.
pub(crate) async fn the_largest_share_gives_way(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    let small = rig.stored(limited(1, &[0; 10], 3)).await;
    let loud = rig.stored(limited(2, &[0; 500], 3)).await;
    let louder = rig.stored(limited(2, &[1; 500], 3)).await;
    rig.attached(1, seat(1)).await;
    let newcomer = Enqueue {
        urgency: Urgency::VeryLow,
        ..limited(1, &[1; 10], 3)
    };
    let answer = rig.storage.enqueue(newcomer).await.unwrap();
    let Enqueued::Stored { id, evicted: 1, .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(rig.announcements.take_removed(seat(1)), [loud]);
    assert_eq!(rig.waiting(1).await, [small, louder, id]);
}

/// PR-23: of the largest subscription, the least urgent message is evicted; of equally urgent ones, the oldest.
pub(crate) async fn within_a_subscription_the_least_urgent_and_oldest_goes(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let with = |urgency, body| Enqueue {
        urgency,
        ..limited(1, body, 4)
    };
    let normal = rig.stored(with(Urgency::Normal, b"0")).await;
    let low = rig.stored(with(Urgency::Low, b"1")).await;
    rig.stored(with(Urgency::Low, b"2")).await;
    let high = rig.stored(with(Urgency::High, b"3")).await;
    let first = rig.stored(with(Urgency::Normal, b"4")).await;
    let waiting = rig.waiting(1).await;
    assert!(!waiting.contains(&low), "the oldest of the least urgent went");
    let second = rig.stored(with(Urgency::Low, b"5")).await;
    assert_eq!(rig.waiting(1).await, [normal, high, first, second]);
}

/// PR-23: a new message that would be evicted itself is refused: nothing changes, and it is never answered 201.
pub(crate) async fn a_newcomer_that_would_be_the_victim_is_refused(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    let small = rig.stored(limited(1, b"0", 2)).await;
    let normal = rig.stored(limited(2, b"11", 2)).await;
    let low = Enqueue {
        urgency: Urgency::Low,
        ..limited(2, b"22", 2)
    };
    assert_eq!(rig.storage.enqueue(low).await.unwrap(), Enqueued::QueueFull);
    let too_large = Enqueue {
        queue_limits: QueueLimits {
            messages: 9,
            bytes: 2 * (MESSAGE_OVERHEAD_BYTES + 2),
        },
        ..enqueue(1, 1, &[0; 400])
    };
    assert_eq!(rig.storage.enqueue(too_large).await.unwrap(), Enqueued::QueueFull);
    assert_eq!(rig.waiting(1).await, [small, normal]);
}

/// PR-23: of two subscriptions with equally many bytes, every storage evicts from the one with the smaller id.
pub(crate) async fn equal_shares_are_told_apart_by_id(rig: &Rig) {
    for n in [3, 2, 1] {
        rig.subscribed(1, n).await;
    }
    let third = rig.stored(limited(3, b"abc", 2)).await;
    rig.stored(limited(2, b"abd", 2)).await;
    let newcomer = rig.stored(limited(1, b"a", 2)).await;
    assert_eq!(rig.waiting(1).await, [third, newcomer]);
}

/// PR-23: expired messages are removed before any other message is evicted.
pub(crate) async fn expired_messages_go_first(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    let brief = Enqueue {
        ttl: Ttl::from_secs(5),
        ..limited(2, b"brief", 2)
    };
    rig.stored(brief).await;
    let large = rig.stored(limited(1, &[0; 999], 2)).await;
    rig.advance(Duration::from_secs(5));
    let answer = rig.storage.enqueue(limited(2, b"new", 2)).await.unwrap();
    let Enqueued::Stored {
        id,
        expired: 1,
        evicted: 0,
        ..
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!(rig.waiting(1).await, [large, id]);
}

/// PR-23: a message that is replaced does not count when the queue is checked.
pub(crate) async fn a_replaced_message_makes_room_first(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let with_topic = |body: &[u8], urgency| Enqueue {
        topic: topic("a"),
        urgency,
        ..limited(1, body, 2)
    };
    let other = rig.stored(limited(1, &[0; 99], 2)).await;
    rig.stored(with_topic(b"old", Urgency::High)).await;
    let new = rig.stored(with_topic(b"new", Urgency::VeryLow)).await;
    assert_eq!(rig.waiting(1).await, [other, new]);
}

/// PR-23: a new message that needs more evictions than one step may make is refused, and nothing is evicted.
pub(crate) async fn too_many_victims_are_none(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let stored = 2 * EVICTIONS_PER_STEP;
    for n in 0..stored {
        rig.stored(enqueue(1, 1, &[n as u8])).await;
    }
    let victims = |n: usize| limited(1, b"newcomer", (stored + 1 - n) as u32);
    let answer = rig
        .storage
        .enqueue(victims(EVICTIONS_PER_STEP + 1))
        .await
        .unwrap();
    assert_eq!(answer, Enqueued::QueueFull);
    assert_eq!(rig.waiting(1).await.len(), stored);
    let answer = rig.storage.enqueue(victims(EVICTIONS_PER_STEP)).await.unwrap();
    assert!(matches!(answer, Enqueued::Stored { evicted: 16, .. }));
    assert_eq!(rig.waiting(1).await.len(), stored + 1 - EVICTIONS_PER_STEP);
}

/// PR-24: an empty rate bucket refuses, and says when its next token comes; then it fills again. A message with TTL 0 takes a
/// token like any other.
pub(crate) async fn a_rate_refuses_and_refills(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    let rated = |n, ttl| Enqueue {
        ttl: Ttl::from_secs(ttl),
        rate: Some(Rate {
            per_second: 0.5,
            burst: 2.0,
        }),
        ..enqueue(1, n, b"x")
    };
    rig.stored(rated(1, 60)).await;
    rig.storage.enqueue(rated(1, 0)).await.unwrap();
    let refused = |secs| Enqueued::RateLimited {
        retry_after: Duration::from_secs(secs),
    };
    assert_eq!(rig.storage.enqueue(rated(1, 60)).await.unwrap(), refused(2));
    rig.stored(rated(2, 60)).await;
    rig.advance(Duration::from_secs(1));
    assert_eq!(rig.storage.enqueue(rated(1, 0)).await.unwrap(), refused(1));
    rig.advance(Duration::from_secs(1));
    rig.stored(rated(1, 60)).await;
    assert_eq!(rig.waiting(1).await.len(), 3);
}

/// PR-24, PR-30: a rate bucket fills with the time that passes, whatever the wall clock says.
pub(crate) async fn a_rate_refills_while_the_wall_clock_is_behind(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let rated = || Enqueue {
        rate: Some(Rate {
            per_second: 1.0,
            burst: 1.0,
        }),
        ..enqueue(1, 1, b"x")
    };
    rig.stored(rated()).await;
    rig.clock.step_wall_to(START_US - 3_600_000_000);
    for _ in 0..3 {
        let answer = rig.storage.enqueue(rated()).await.unwrap();
        assert!(matches!(answer, Enqueued::RateLimited { .. }), "{answer:?}");
        rig.advance(Duration::from_secs(1));
        rig.stored(rated()).await;
    }
}

/// PR-24: a push that is over the rate stores nothing, replaces nothing and takes no number.
pub(crate) async fn a_refusal_changes_nothing(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let with_topic = |body: &[u8]| Enqueue {
        topic: topic("a"),
        rate: Some(Rate {
            per_second: 1.0,
            burst: 1.0,
        }),
        ..enqueue(1, 1, body)
    };
    let first = rig.stored(with_topic(b"first")).await;
    let before = rig.usage().await;
    let answer = rig.storage.enqueue(with_topic(b"second")).await.unwrap();
    assert!(matches!(answer, Enqueued::RateLimited { .. }));
    assert_eq!(rig.usage().await, before);
    let page = rig.attached(1, seat(1)).await;
    assert_eq!((page.messages[0].id, page.upto), (first, first.number));
}

//! Why messages leave a queue without an acknowledgement, as their storage tells it.

use std::time::Duration;

use push_protocol::{Ttl, Urgency};

use super::rig::{Rig, enqueue, name, topic, user_agent};
use crate::storage::{Enqueue, Enqueued, QueueLimits, RemovalReason};

fn lasting(body: &[u8], secs: u64) -> Enqueue {
    Enqueue {
        ttl: Ttl::from_secs(secs),
        ..enqueue(1, 1, body)
    }
}

/// A storage tells of each message that was replaced or taken back, once; of one that was acknowledged in time it tells nothing.
pub(crate) async fn a_replaced_or_cancelled_message_is_told_of(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let topical = |body: &[u8], secs| Enqueue {
        topic: topic("t"),
        ..lasting(body, secs)
    };
    let first = rig.stored(topical(b"1", 60)).await;
    let second = rig.stored(topical(b"2", 60)).await;
    assert_eq!(
        rig.announcements.take_reasons(),
        [(first, RemovalReason::Replaced)]
    );
    let passed = rig.storage.enqueue(topical(b"3", 0)).await.unwrap();
    assert!(matches!(passed, Enqueued::Passed { .. }), "{passed:?}");
    assert_eq!(
        rig.announcements.take_reasons(),
        [(second, RemovalReason::Replaced)]
    );

    let ids = [
        rig.stored(lasting(b"4", 60)).await,
        rig.stored(lasting(b"5", 60)).await,
    ];
    assert_eq!(rig.acknowledged(1, &ids[..1]).await, [true]);
    assert_eq!(rig.announcements.take_reasons(), []);
    assert_eq!(rig.cancelled(1, ids[1]).await, [true]);
    assert_eq!(
        rig.announcements.take_reasons(),
        [(ids[1], RemovalReason::Cancelled)]
    );
    assert_eq!(rig.cancelled(1, ids[1]).await, [false]);
    assert_eq!(rig.announcements.take_reasons(), []);
}

/// PR-23: what makes room in a full queue had expired, or was evicted; the message of its topic was replaced.
pub(crate) async fn what_makes_room_is_told_of(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let full = |request| Enqueue {
        queue_limits: QueueLimits {
            messages: 4,
            bytes: 1 << 20,
        },
        ..request
    };
    let low = |request| Enqueue {
        urgency: Urgency::Low,
        ..request
    };
    let replaced = rig
        .stored(Enqueue {
            topic: topic("t"),
            ..lasting(b"1", 60)
        })
        .await;
    let expired = rig.stored(lasting(b"2", 5)).await;
    let evicted = rig.stored(low(lasting(b"3", 60))).await;
    let stays = rig.stored(lasting(b"4", 60)).await;
    assert_eq!(rig.announcements.take_reasons(), []);
    rig.advance(Duration::from_secs(6));
    let newer = rig
        .stored(full(Enqueue {
            topic: topic("t"),
            ..lasting(b"5", 60)
        }))
        .await;
    assert_eq!(
        rig.announcements.take_reasons(),
        [(replaced, RemovalReason::Replaced)]
    );
    rig.stored(full(lasting(b"6", 60))).await;
    assert_eq!(
        rig.announcements.take_reasons(),
        [(expired, RemovalReason::Expired)]
    );
    rig.stored(full(lasting(b"7", 60))).await;
    assert_eq!(
        rig.announcements.take_reasons(),
        [(evicted, RemovalReason::Evicted)]
    );
    let gone = [(stays, RemovalReason::Expired), (newer, RemovalReason::Expired)];
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.acknowledged(1, &[stays, newer]).await, [false, false]);
    assert_eq!(rig.announcements.take_reasons(), gone, "acknowledged too late");
}

/// Messages of a subscription that ends leave for that, by name and by the end of all.
pub(crate) async fn messages_of_an_ended_subscription_are_told_of(rig: &Rig) {
    for by_name in [true, false] {
        rig.subscribed(1, 1).await;
        let left = [
            rig.stored(lasting(b"1", 60)).await,
            rig.stored(lasting(b"2", 60)).await,
        ];
        if by_name {
            let ended = rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
            assert!(ended.is_some());
        } else {
            let all = crate::storage::Ending::All;
            assert!(rig.storage.end(user_agent(1), all).await.unwrap());
        }
        rig.storage.expire(100).await.unwrap();
        let reasons = left.map(|id| (id, RemovalReason::SubscriptionEnded));
        assert_eq!(rig.announcements.take_reasons(), reasons, "by name: {by_name}");
    }
}

/// A sweep tells of the messages that it removes.
pub(crate) async fn an_expired_message_is_told_of(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let expired = rig.stored(lasting(b"1", 5)).await;
    rig.stored(lasting(b"2", 60)).await;
    rig.advance(Duration::from_secs(6));
    rig.page(1, super::seat(1), super::everything()).await;
    assert_eq!(rig.storage.expire(100).await.unwrap().expired, 1);
    assert_eq!(
        rig.announcements.take_reasons(),
        [(expired, RemovalReason::Expired)]
    );
}

//! Caps on the bytes that wait of one sender and in the whole store: beyond a cap the new message is refused, and no other
//! message is removed for it.

use std::time::Duration;

use push_protocol::{KeyDigest, Ttl, Urgency};

use super::rig::{Rig, enqueue, name, seat, subscription, topic, user_agent};
use crate::defaults::MESSAGE_OVERHEAD_BYTES;
use crate::storage::{Caps, Ending, Enqueue, Enqueued, SenderTag};

/// The user agent by which cases ask for sums.
const ASKING: u8 = 15;

pub(crate) fn sender(n: u8) -> SenderTag {
    SenderTag::of_key(KeyDigest([n; 32]))
}

fn from(n: u8, request: Enqueue) -> Enqueue {
    Enqueue {
        sender: Some(sender(n)),
        ..request
    }
}

fn capped(sender_bytes: u64, request: Enqueue) -> Enqueue {
    let caps = Caps {
        sender_bytes,
        store_bytes: 0,
    };
    Enqueue { caps, ..request }
}

async fn answer(rig: &Rig, request: Enqueue) -> Enqueued {
    rig.storage.enqueue(request).await.unwrap()
}

/// Asserts how many bytes of a sender, or of all, are counted: with a cap one byte too small a message is refused; with a cap
/// that just fits it is stored, and then taken back.
async fn counts(rig: &Rig, n: Option<u8>, bytes: u64, when: &str) {
    let cap = bytes + MESSAGE_OVERHEAD_BYTES;
    let caps = |cap| match n {
        Some(_) => Caps {
            sender_bytes: cap,
            store_bytes: 0,
        },
        None => Caps {
            sender_bytes: 0,
            store_bytes: cap,
        },
    };
    let asking = |cap| Enqueue {
        sender: n.map(sender),
        caps: caps(cap),
        urgency: Urgency::High,
        ..enqueue(ASKING, ASKING, b"")
    };
    let refused = match n {
        Some(_) => Enqueued::SenderFull,
        None => Enqueued::StoreFull,
    };
    // After this step, what came before is counted everywhere.
    let last = rig.stored(enqueue(ASKING, ASKING, b"last")).await;
    assert_eq!(rig.cancelled(ASKING, last).await, [true]);
    assert_eq!(
        answer(rig, asking(cap - 1)).await,
        refused,
        "{when}: {n:?} has less"
    );
    let fits = answer(rig, asking(cap)).await;
    let Enqueued::Stored { id, .. } = fits else {
        panic!("{when}: {n:?} has more than {bytes}: {fits:?}");
    };
    assert_eq!(rig.cancelled(ASKING, id).await, [true]);
}

/// How many bytes a message with a body of this length counts.
const fn counted(body_bytes: u64) -> u64 {
    body_bytes + MESSAGE_OVERHEAD_BYTES
}

/// PR-42, PR-43: a sender over its cap is refused, for every subscription and every urgency. Other senders are not, and a
/// message with TTL 0 never is. Messages that leave make room.
pub(crate) async fn a_sender_over_its_cap_is_refused(rig: &Rig) {
    let cap = 3 * counted(100);
    for n in 1..=4 {
        rig.subscribed(n, n).await;
    }
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(rig.stored(capped(cap, from(1, enqueue(n, n, &[n; 100])))).await);
    }
    for urgency in Urgency::ALL {
        let more = Enqueue {
            urgency,
            ..capped(cap, from(1, enqueue(4, 4, b"")))
        };
        assert_eq!(answer(rig, more).await, Enqueued::SenderFull);
    }
    let passing = Enqueue {
        ttl: Ttl::ZERO,
        ..capped(cap, from(1, enqueue(4, 4, b"")))
    };
    assert!(matches!(answer(rig, passing).await, Enqueued::Passed { .. }));
    rig.stored(capped(cap, from(2, enqueue(4, 4, &[0; 200])))).await;
    rig.stored(capped(cap, enqueue(4, 4, &[1; 2_000]))).await;

    assert_eq!(rig.acknowledged(2, &ids[1..2]).await, [true]);
    rig.stored(capped(cap, from(1, enqueue(4, 4, &[2; 100])))).await;
    assert_eq!(
        answer(rig, capped(cap, from(1, enqueue(4, 4, b"")))).await,
        Enqueued::SenderFull
    );
}

/// PR-42: no accepted message is removed for a message that is over a cap, not even one that it would replace: the new
/// message is refused and nothing changes.
pub(crate) async fn nothing_gives_way_to_one_over_a_cap(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(2, 2).await;
    let with_topic = |body: &[u8]| Enqueue {
        topic: topic("a"),
        urgency: Urgency::VeryLow,
        ..from(1, enqueue(1, 1, body))
    };
    let kept = [
        rig.stored(with_topic(&[1; 50])).await,
        rig.stored(from(2, enqueue(1, 1, &[2; 60]))).await,
    ];
    let urgent = Enqueue {
        urgency: Urgency::High,
        ..from(1, enqueue(2, 2, &[3; 10]))
    };
    let sender_cap = counted(50) + counted(10) - 1;
    assert_eq!(
        answer(rig, capped(sender_cap, urgent.clone())).await,
        Enqueued::SenderFull
    );
    let store = Enqueue {
        caps: Caps {
            sender_bytes: 0,
            store_bytes: counted(50) + counted(60) + counted(10) - 1,
        },
        ..urgent
    };
    assert_eq!(answer(rig, store).await, Enqueued::StoreFull);
    let replacing = capped(counted(50), with_topic(b"new"));
    assert_eq!(answer(rig, replacing).await, Enqueued::SenderFull);
    assert_eq!(rig.waiting(1).await, kept);
    assert_eq!(rig.waiting(2).await, []);
}

/// PR-42, PR-43: a store that is nearly full takes only urgent messages. When there is room, it takes all again.
pub(crate) async fn a_full_store_takes_urgent_messages_longest(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let caps = Caps {
        sender_bytes: 0,
        store_bytes: 100 * counted(0),
    };
    let with = |urgency, body: &[u8]| Enqueue {
        urgency,
        caps,
        ..enqueue(1, 1, body)
    };
    let filling = rig
        .stored(with(Urgency::High, &[0; 84 * counted(0) as usize]))
        .await;
    // Each message takes one percent. At each limit, only more urgent ones still fit.
    for (urgency, upto) in [
        (Urgency::VeryLow, 85),
        (Urgency::Low, 90),
        (Urgency::Normal, 95),
        (Urgency::High, 100),
    ] {
        let mut stored = 0;
        while let Enqueued::Stored { .. } = answer(rig, with(urgency, b"")).await {
            stored += 1;
        }
        assert_eq!(stored, if upto == 85 { 0 } else { 5 }, "{urgency:?}");
    }
    assert_eq!(answer(rig, with(Urgency::High, b"")).await, Enqueued::StoreFull);
    assert_eq!(rig.acknowledged(1, &[filling]).await, [true]);
    rig.stored(with(Urgency::VeryLow, b"")).await;
}

/// PR-43: the sums are right, in whatever way messages leave: acknowledged, taken back, replaced, evicted, expired, with their
/// subscription, with their user agent.
pub(crate) async fn sums_follow_what_waits(rig: &Rig) {
    rig.subscribed(ASKING, ASKING).await;
    for n in 1..=3 {
        rig.subscribed(1, n).await;
    }
    rig.subscribed(2, 9).await;
    counts(rig, Some(1), 0, "nothing came").await;
    let mut waiting = Vec::new();
    for n in 0..4_u8 {
        waiting.push(rig.stored(from(1, enqueue(1, 1, &[n; 100]))).await);
    }
    rig.stored(from(2, enqueue(1, 2, &[7; 300]))).await;
    counts(rig, Some(1), 4 * counted(100), "stored").await;
    counts(rig, Some(2), counted(300), "stored").await;
    counts(rig, None, 4 * counted(100) + counted(300), "stored").await;

    rig.acknowledged(1, &waiting[..2]).await;
    // A repetition changes nothing.
    rig.acknowledged(1, &waiting[..2]).await;
    rig.cancelled(1, waiting[2]).await;
    counts(rig, Some(1), counted(100), "acknowledged and taken back").await;

    let with_topic = |n, size| Enqueue {
        topic: topic("news"),
        ..from(n, enqueue(1, 3, &vec![n; size]))
    };
    rig.stored(with_topic(3, 40)).await;
    rig.stored(with_topic(1, 50)).await;
    counts(rig, Some(3), 0, "replaced").await;
    counts(rig, Some(1), counted(100) + counted(50), "replaced another's").await;

    // Evicts the largest share: that of sender 2.
    let tight = Enqueue {
        queue_limits: crate::storage::QueueLimits {
            messages: 3,
            bytes: u64::MAX,
        },
        ..from(3, enqueue(1, 3, &[1; 30]))
    };
    let stored = answer(rig, tight).await;
    assert!(
        matches!(stored, Enqueued::Stored { evicted: 1, .. }),
        "{stored:?}"
    );
    counts(rig, Some(2), 0, "evicted").await;
    counts(rig, Some(3), counted(30), "evicted another's").await;

    rig.storage.unsubscribe(user_agent(1), name(3)).await.unwrap();
    rig.storage.expire(usize::MAX).await.unwrap();
    counts(rig, Some(3), 0, "its subscription ended").await;
    counts(rig, Some(1), counted(100), "a subscription ended").await;

    let brief = Enqueue {
        ttl: Ttl::from_secs(5),
        ..from(2, enqueue(2, 9, &[0; 70]))
    };
    rig.stored(brief).await;
    rig.stored(from(1, enqueue(2, 9, &[0; 80]))).await;
    rig.advance(Duration::from_secs(6));
    // A step that reads the queue notices what has expired.
    rig.attached(2, seat(1)).await;
    rig.storage.expire(usize::MAX).await.unwrap();
    counts(rig, Some(2), 0, "expired").await;

    rig.storage.end(user_agent(1), Ending::All).await.unwrap();
    counts(rig, Some(1), counted(80), "its user agent ended").await;
    let last = Ending::One(subscription(9));
    rig.storage.end(user_agent(2), last).await.unwrap();
    rig.storage.expire(usize::MAX).await.unwrap();
    counts(rig, Some(1), 0, "all ended").await;
    counts(rig, None, 0, "all ended").await;
}

/// PR-42: a refused message counts for no sender, and one that is over a cap takes no token of a rate.
pub(crate) async fn a_refused_message_is_not_counted(rig: &Rig) {
    rig.subscribed(ASKING, ASKING).await;
    rig.subscribed(1, 1).await;
    let rated = |cap, body: &[u8]| Enqueue {
        rate: Some(crate::storage::Rate {
            per_second: 0.001,
            burst: 1.0,
        }),
        ..capped(cap, from(1, enqueue(1, 1, body)))
    };
    for _ in 0..3 {
        assert_eq!(
            answer(rig, rated(counted(9), &[0; 10])).await,
            Enqueued::SenderFull
        );
    }
    counts(rig, Some(1), 0, "refused").await;
    rig.stored(rated(counted(10), &[0; 10])).await;
    // Refused by its rate, by its subscription, and by its queue.
    let limited = answer(rig, rated(0, b"")).await;
    assert!(matches!(limited, Enqueued::RateLimited { .. }), "{limited:?}");
    let stranger = answer(rig, from(1, enqueue(7, 7, b"x"))).await;
    assert_eq!(stranger, Enqueued::NoSubscription);
    let too_large = Enqueue {
        queue_limits: crate::storage::QueueLimits {
            messages: 9,
            bytes: counted(5),
        },
        ..from(1, enqueue(1, 1, &[0; 400]))
    };
    assert_eq!(answer(rig, too_large).await, Enqueued::QueueFull);
    counts(rig, Some(1), counted(10), "one was stored").await;
    counts(rig, None, counted(10), "one was stored").await;
}

/// PR-42: one sender that pushes to very many subscriptions fills its own sum and no other.
pub(crate) async fn many_subscriptions_are_one_sender(rig: &Rig) {
    let cap = 20 * counted(1_000);
    let (mut stored, mut refused) = (0, 0);
    for agent in 1..=12 {
        for n in 1..=8 {
            rig.subscribed(agent, agent * 10 + n).await;
            let body = [agent.wrapping_mul(16) ^ n; 1_000];
            match answer(rig, capped(cap, from(1, enqueue(agent, agent * 10 + n, &body)))).await {
                Enqueued::Stored { .. } => stored += 1,
                Enqueued::SenderFull => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((stored, refused), (20, 76));
    for agent in 1..=12 {
        rig.stored(capped(cap, from(2, enqueue(agent, agent * 10 + 1, &[0; 1_000]))))
            .await;
    }
}

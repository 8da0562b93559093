//! What time does: messages expire, and abandoned records are removed.

use std::time::Duration;

use push_protocol::Ttl;

use super::rig::{Rig, START_US, enqueue, everything, name, seat, subscribe, subscription, user_agent};
use crate::defaults::{
    CLOCK_STEP_DOUBTED_FOR, RECEIPT_SUBSCRIPTION_KEPT, RETENTION, RETENTION_GRAINS, SEAT_HELD_IS_USE,
    UNUSED_RETENTION,
};
use crate::storage::{
    Attached, Enqueue, Enqueued, ExpectReceipt, Manner, RECEIPTS, RECEIPTS_NAME, Rate, ReceiptExpected,
    Refreshed, Subscribe, Subscribed, Usage,
};

fn brief(body: &[u8], secs: u64) -> Enqueue {
    Enqueue {
        ttl: Ttl::from_secs(secs),
        ..enqueue(1, 1, body)
    }
}

/// R30-TTL-6: after its TTL a message is in no page, whether it was swept or not.
pub(crate) async fn an_expired_message_is_never_handed_out(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let first = rig.stored(brief(b"5", 5)).await;
    let second = rig.stored(brief(b"10", 10)).await;
    rig.advance(Duration::from_millis(4_999));
    assert_eq!(rig.waiting(1).await, [first, second]);
    rig.advance(Duration::from_millis(1));
    assert_eq!(rig.waiting(1).await, [second]);
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.waiting(1).await, []);
}

/// PR-30: each message of a page has its remaining time to live, by the clock of storage.
pub(crate) async fn remaining_time_counts_down(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.stored(brief(b"a", 60)).await;
    for remaining_ms in [60_000, 59_000, 58_000] {
        let page = rig.attached(1, seat(1)).await;
        assert_eq!(page.messages[0].remaining_ms, remaining_ms);
        rig.advance(Duration::from_secs(1));
    }
}

/// PR-30: a message expires by the time that passes, whatever the wall clock says.
pub(crate) async fn a_message_expires_while_the_wall_clock_is_behind(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.stored(brief(b"5", 5)).await;
    rig.clock.step_wall_to(START_US - 3_600_000_000);
    let second = rig.stored(brief(b"10", 10)).await;
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.waiting(1).await, [second]);
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.storage.expire(100).await.unwrap().total(), 2);
}

/// A sweep removes only what is due, and at most its limit. Fewer than the limit means that nothing else is due.
pub(crate) async fn a_sweep_drops_what_is_due_in_bounded_steps(rig: &Rig) {
    rig.subscribed(1, 1).await;
    for n in 0..7_u8 {
        rig.stored(brief(&[n], 5)).await;
    }
    let stays = rig.stored(brief(b"stays", 60)).await;
    assert_eq!(rig.storage.expire(100).await.unwrap().total(), 0);
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.storage.expire(3).await.unwrap().total(), 3);
    assert_eq!(rig.usage().await.messages, 5);
    assert_eq!(rig.storage.expire(100).await.unwrap().total(), 4);
    assert_eq!(rig.storage.expire(100).await.unwrap().total(), 0);
    assert_eq!(rig.waiting(1).await, [stays]);
}

/// PR-29, WS-HEL-6, R30-EXP-1: a record whose user agent did not come back vanishes after its retention, subscriptions and
/// messages with it.
pub(crate) async fn an_abandoned_record_vanishes(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.waiting(1).await;
    rig.advance(RETENTION - Duration::from_secs(1));
    rig.stored(enqueue(1, 1, b"a")).await;
    rig.advance(Duration::from_secs(1) + RETENTION / RETENTION_GRAINS as u32);
    let refused = rig.storage.enqueue(enqueue(1, 1, b"b")).await.unwrap();
    assert_eq!(refused, Enqueued::NoSubscription);
    while rig.storage.expire(100).await.unwrap().total() > 0 {}
    assert_eq!(rig.usage().await, Usage::default());
    let attached = rig
        .storage
        .attach(user_agent(1), seat(1), everything(), Manner::Insisting)
        .await
        .unwrap();
    assert!(matches!(attached, Attached::Unknown));
}

/// PR-29, PR-30: a wall clock that leaps years ahead for a moment ends no subscription and no message. If it stays there, storage
/// follows it.
pub(crate) async fn a_leap_of_the_wall_clock_ends_nothing(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"a")).await;
    let leap_us = (RETENTION * 2).as_micros() as u64;
    rig.clock.step_wall_to(START_US + leap_us);
    assert_eq!(rig.storage.expire(100).await.unwrap().total(), 0);
    rig.advance(Duration::from_millis(500));
    assert_eq!(rig.storage.expire(100).await.unwrap().total(), 0);
    assert_eq!(rig.waiting(1).await, [id]);
    rig.clock.step_wall_to(START_US + 500_000);
    assert_eq!(rig.storage.expire(100).await.unwrap().total(), 0);
    let next = rig.stored(enqueue(1, 1, b"b")).await;
    assert_eq!(next.number.0, START_US + 500_000);

    rig.clock.step_wall_to(START_US + leap_us);
    assert_eq!(rig.waiting(1).await, [id, next]);
    rig.advance(CLOCK_STEP_DOUBTED_FOR);
    rig.storage.expire(100).await.unwrap();
    assert_eq!(rig.usage().await, Usage::default());
}

/// PR-29: each attach renews the retention.
pub(crate) async fn a_hello_renews_the_retention(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.waiting(1).await;
    for _ in 0..3 {
        rig.advance(RETENTION - Duration::from_secs(60));
        rig.storage.expire(100).await.unwrap();
        assert_eq!(rig.waiting(1).await, []);
    }
    rig.stored(enqueue(1, 1, b"a")).await;
}

/// PR-29: a record is kept while a session holds its seat, even for longer than the retention.
pub(crate) async fn a_held_seat_keeps_its_record(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    for _ in 0..4 {
        rig.advance(RETENTION / 2);
        let refreshed = rig.storage.refresh(&[(user_agent(1), seat(1))]).await.unwrap();
        assert!(matches!(refreshed[..], [Refreshed::Held { .. }]));
        rig.storage.expire(100).await.unwrap();
    }
    rig.stored(enqueue(1, 1, b"a")).await;
    rig.storage.release(user_agent(1), seat(1)).await.unwrap();
    assert_eq!(rig.waiting(1).await.len(), 1);
}

/// An acknowledgement after the expiry finds nothing, whether the message was swept or not. The message is removed.
pub(crate) async fn an_expired_message_counts_as_not_there(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(brief(b"a", 5)).await;
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.acknowledged(1, &[id]).await, [false]);
    assert_eq!(rig.usage().await.messages, 0);
}

/// A retention and its grain, by which a record may last longer.
fn with_grain(retention: Duration) -> Duration {
    retention + retention / RETENTION_GRAINS as u32
}

/// Whether subscription `n` of user agent `n` is known.
async fn is_kept(rig: &Rig, n: u8) -> bool {
    let has = rig.storage.has_subscription(user_agent(n), subscription(n));
    has.await.unwrap()
}

async fn is_unused(rig: &Rig, n_agent: u8) -> bool {
    let report = rig.storage.inspect(user_agent(n_agent)).await.unwrap();
    report.expect("a record").unused
}

/// A WebSocket's first register.
async fn registered(rig: &Rig, n: u8) {
    let request = Subscribe {
        seat: Some(seat(n.into())),
        ..subscribe(n, n)
    };
    let made = rig.storage.subscribe(request).await.unwrap();
    assert_eq!(made, Subscribed::Created(subscription(n)));
}

/// PR-29, PR-42, PR-43: a subscription that never received a push, and whose user agent never came back, is kept for a day,
/// whether `POST /subscribe` or a register made it. Then it is gone, and its user agent is unknown.
pub(crate) async fn an_unused_record_is_kept_for_a_day(rig: &Rig) {
    rig.subscribed(1, 1).await;
    registered(rig, 2).await;
    rig.storage.release(user_agent(2), seat(2)).await.unwrap();
    rig.advance(UNUSED_RETENTION - Duration::from_secs(1));
    for n in [1, 2] {
        assert!(is_kept(rig, n).await && is_unused(rig, n).await, "{n}");
    }
    rig.advance(Duration::from_secs(1) + with_grain(UNUSED_RETENTION) - UNUSED_RETENTION);
    for n in [1, 2] {
        assert!(!is_kept(rig, n).await, "{n}");
        let late = rig.storage.enqueue(enqueue(n, n, b"late")).await.unwrap();
        assert_eq!(late, Enqueued::NoSubscription);
        let attach = rig
            .storage
            .attach(user_agent(n), seat(9), everything(), Manner::Asking);
        assert!(matches!(attach.await.unwrap(), Attached::Unknown));
    }
}

/// PR-29: making further subscriptions, or the same one again, keeps an unused record for another day and does not make it a
/// used one.
pub(crate) async fn making_subscriptions_is_no_use(rig: &Rig) {
    rig.subscribed(1, 1).await;
    for n in [1, 2, 2] {
        rig.advance(UNUSED_RETENTION - Duration::from_secs(60));
        let made = rig.storage.subscribe(subscribe(1, n)).await.unwrap();
        assert!(matches!(made, Subscribed::Created(_) | Subscribed::Kept(_)));
        assert!(is_unused(rig, 1).await);
    }
    rig.advance(UNUSED_RETENTION - Duration::from_secs(60));
    assert!(is_kept(rig, 1).await);
    rig.advance(with_grain(UNUSED_RETENTION));
    assert!(!is_kept(rig, 1).await);
}

/// PR-29: a push that is refused does not make a record a used one.
pub(crate) async fn a_refused_push_is_no_use(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let too_fast = Enqueue {
        rate: Some(Rate {
            per_second: 0.01,
            burst: 0.5,
        }),
        ..enqueue(1, 1, b"a")
    };
    let too_large = Enqueue {
        queue_limits: crate::storage::QueueLimits {
            messages: 10,
            bytes: 1,
        },
        ..enqueue(1, 1, b"b")
    };
    let foreign = enqueue(1, 2, b"c");
    for refused in [too_fast, too_large, foreign] {
        let answer = rig.storage.enqueue(refused).await.unwrap();
        assert!(!matches!(answer, Enqueued::Stored { .. }), "{answer:?}");
        assert!(is_unused(rig, 1).await);
    }
    rig.advance(with_grain(UNUSED_RETENTION));
    assert!(!is_kept(rig, 1).await);
}

/// PR-29: a record is used after a push with any TTL, after a hello or monitoring request, and when its session is compared. It
/// is kept for the whole retention from then on. Later subscribes do not shorten that.
pub(crate) async fn a_used_record_is_kept_for_the_whole_retention(rig: &Rig) {
    for n in [1, 2, 3] {
        rig.subscribed(n, n).await;
    }
    registered(rig, 4).await;
    rig.advance(UNUSED_RETENTION - Duration::from_secs(60));
    rig.stored(enqueue(1, 1, b"a")).await;
    let passing = rig.storage.enqueue(Enqueue {
        ttl: Ttl::ZERO,
        ..enqueue(2, 2, b"b")
    });
    assert!(matches!(passing.await.unwrap(), Enqueued::Passed { .. }));
    rig.waiting(3).await;
    let compared = rig.storage.refresh(&[(user_agent(4), seat(4))]).await.unwrap();
    assert!(matches!(compared[..], [Refreshed::Held { .. }]));
    rig.storage.release(user_agent(4), seat(4)).await.unwrap();
    rig.advance(UNUSED_RETENTION * 3);
    for n in [1, 2, 3, 4] {
        rig.storage.expire(100).await.unwrap();
        assert!(is_kept(rig, n).await && !is_unused(rig, n).await, "{n}");
        rig.storage.subscribe(subscribe(n, n + 10)).await.unwrap();
    }
    rig.advance(RETENTION - Duration::from_secs(1));
    for n in [1, 2, 3, 4] {
        assert!(is_kept(rig, n).await, "{n}");
    }
    rig.advance(with_grain(RETENTION) - RETENTION + Duration::from_secs(1));
    for n in [1, 2, 3, 4] {
        assert!(!is_kept(rig, n).await, "{n}");
    }
}

/// PR-29: a record ends with its last subscription, unless a session holds the seat. One that is made anew is unused.
pub(crate) async fn a_record_made_anew_is_unused_again(rig: &Rig) {
    for n in [1, 2] {
        rig.subscribed(n, n).await;
        rig.stored(enqueue(n, n, b"a")).await;
    }
    rig.attached(2, seat(2)).await;
    for n in [1, 2] {
        rig.storage.unsubscribe(user_agent(n), name(n)).await.unwrap();
        rig.subscribed(n, n + 10).await;
    }
    assert!(is_unused(rig, 1).await);
    assert!(!is_unused(rig, 2).await);
    rig.storage.release(user_agent(2), seat(2)).await.unwrap();
    rig.advance(with_grain(UNUSED_RETENTION));
    for (n, kept) in [(1, false), (2, true)] {
        let has = rig.storage.has_subscription(user_agent(n), subscription(n + 10));
        assert_eq!(has.await.unwrap(), kept, "{n}");
    }
}

/// PR-25, PR-29, PR-42: a receipt subscription is kept for a day if no receipt is asked for and it is not monitored, and for 30
/// days otherwise.
pub(crate) async fn a_receipt_subscription_is_used_or_kept_for_a_day(rig: &Rig) {
    for n in [7, 8, 9] {
        let request = Subscribe {
            name: RECEIPTS_NAME,
            fresh_id: RECEIPTS,
            ..subscribe(n, 0)
        };
        let made = rig.storage.subscribe(request).await.unwrap();
        assert_eq!(made, Subscribed::Created(RECEIPTS));
    }
    let expected = ExpectReceipt {
        user_agent: user_agent(1),
        nonce: 1,
        dialect: push_protocol::capability::Dialect::Webpush,
        sealed_by: push_protocol::capability::KeyId(5),
        within: Duration::from_secs(60),
        limit: 100,
    };
    let answer = rig.storage.expect_receipt(user_agent(8), expected);
    assert_eq!(answer.await.unwrap(), ReceiptExpected::Recorded);
    rig.waiting(9).await;
    let kept = async |n| {
        let has = rig.storage.has_subscription(user_agent(n), RECEIPTS);
        has.await.unwrap()
    };
    rig.advance(UNUSED_RETENTION - Duration::from_secs(1));
    assert!(kept(7).await);
    rig.advance(with_grain(UNUSED_RETENTION) - UNUSED_RETENTION + Duration::from_secs(1));
    assert!(!kept(7).await);
    rig.advance(RECEIPT_SUBSCRIPTION_KEPT - with_grain(UNUSED_RETENTION) - Duration::from_secs(1));
    assert!(kept(8).await && kept(9).await);
    rig.advance(with_grain(RECEIPT_SUBSCRIPTION_KEPT));
    assert!(!kept(8).await && !kept(9).await);
}

/// PR-29, PR-43: a sweep removes an unused record when its day is over. A record that is used in time stays.
pub(crate) async fn an_unused_record_is_swept(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(2, 2).await;
    rig.waiting(2).await;
    assert_eq!(rig.usage().await.user_agents, 2);
    rig.advance(with_grain(UNUSED_RETENTION));
    while rig.storage.expire(100).await.unwrap().total() > 0 {}
    assert_eq!(rig.usage().await.user_agents, 1);
    assert!(is_kept(rig, 2).await);
}

/// PR-29: storage that is not shared is not asked for comparisons. There, a session that stays after its first register makes
/// the record a used one, and a session that leaves at once does not.
pub(crate) async fn a_seat_that_is_held_is_use(rig: &Rig) {
    registered(rig, 1).await;
    registered(rig, 2).await;
    rig.advance(SEAT_HELD_IS_USE - Duration::from_secs(1));
    rig.storage.expire(100).await.unwrap();
    rig.storage.release(user_agent(2), seat(2)).await.unwrap();
    rig.advance(Duration::from_secs(1));
    rig.storage.expire(100).await.unwrap();
    assert!(!is_unused(rig, 1).await && is_unused(rig, 2).await);
    rig.storage.release(user_agent(1), seat(1)).await.unwrap();

    // A session that takes the free seat later makes the record a used one at once. What is due after that is not missed.
    rig.subscribed(3, 3).await;
    rig.advance(SEAT_HELD_IS_USE * 10);
    rig.storage.expire(100).await.unwrap();
    rig.page(3, seat(3), everything()).await;
    rig.storage.expire(100).await.unwrap();
    assert!(!is_unused(rig, 3).await);
    rig.stored(Enqueue {
        ttl: Ttl::from_secs(5),
        ..enqueue(3, 3, b"a")
    })
    .await;
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.storage.expire(100).await.unwrap().expired, 1);

    rig.advance(RETENTION - SEAT_HELD_IS_USE * 10 - Duration::from_secs(6));
    while rig.storage.expire(100).await.unwrap().total() > 0 {}
    assert!(is_kept(rig, 1).await && !is_kept(rig, 2).await);
}

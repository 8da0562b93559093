//! Time passes: messages expire, records are abandoned.

use std::time::Duration;

use push_protocol::Ttl;

use super::rig::{Rig, START_US, enqueue, everything, seat, user_agent};
use crate::defaults::{CLOCK_STEP_DOUBTED_FOR, RETENTION, RETENTION_GRAINS};
use crate::storage::{Attached, Enqueue, Enqueued, Manner, Refreshed, Usage};

fn brief(body: &[u8], secs: u64) -> Enqueue {
    Enqueue {
        ttl: Ttl::from_secs(secs),
        ..enqueue(1, 1, body)
    }
}

/// R30-TTL-6: after its TTL a message is in no page, swept or not.
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

/// PR-30: a page carries the remaining time, judged by storage's clock.
pub(crate) async fn remaining_time_counts_down(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.stored(brief(b"a", 60)).await;
    for remaining_ms in [60_000, 59_000, 58_000] {
        let page = rig.attached(1, seat(1)).await;
        assert_eq!(page.messages[0].remaining_ms, remaining_ms);
        rig.advance(Duration::from_secs(1));
    }
}

/// PR-30: a TTL runs with the time that passes, whatever the wall clock says.
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

/// Sweeping drops what is due and no more than it may; fewer than the limit means that nothing is left.
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

/// PR-29, WS-HEL-6, R30-EXP-1: a record that nobody came back to vanishes after its retention, subscriptions and
/// messages with it.
pub(crate) async fn an_abandoned_record_vanishes(rig: &Rig) {
    rig.subscribed(1, 1).await;
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

/// PR-29, PR-30: a wall clock that is years ahead for a moment ends no subscription and no message; one that stays there
/// is believed.
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

/// PR-29: the retention starts again with each hello.
pub(crate) async fn a_hello_renews_the_retention(rig: &Rig) {
    rig.subscribed(1, 1).await;
    for _ in 0..3 {
        rig.advance(RETENTION - Duration::from_secs(60));
        rig.storage.expire(100).await.unwrap();
        assert_eq!(rig.waiting(1).await, []);
    }
    rig.stored(enqueue(1, 1, b"a")).await;
}

/// PR-29: a session that holds its channel for longer than the retention has not abandoned it.
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

/// An acknowledgement after the expiry finds nothing, swept or not, and leaves nothing behind.
pub(crate) async fn an_expired_message_counts_as_not_there(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(brief(b"a", 5)).await;
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.acknowledged(1, &[id]).await, [false]);
    assert_eq!(rig.usage().await.messages, 0);
}

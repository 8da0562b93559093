//! Which session has the seat, and what it is told.

use std::time::Duration;

use push_protocol::{MessageNumber, Ttl};

use super::rig::{Rig, enqueue, everything, ids, seat, subscribe, topic, user_agent};
use crate::defaults::ATTACHES_PER_MINUTE;
use crate::storage::{
    Attached, Confirm, Enqueue, Enqueued, Manner, Paged, Refreshed, Removal, Subscribe, WakeUp,
};

/// PR-10: attach takes the seat, also from another session, and reads the head of the queue with its last number in one step.
pub(crate) async fn attach_takes_the_seat_and_reads_the_head(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"a")).await;
    for (now, before) in [(seat(1), None), (seat(2), Some(seat(1))), (seat(2), None)] {
        let attached = rig
            .storage
            .attach(user_agent(1), now, everything(), Manner::Insisting)
            .await
            .unwrap();
        let Attached::Known { page, displaced } = attached else {
            panic!("unknown");
        };
        assert_eq!((ids(&page), page.upto, displaced), (vec![id], id.number, before));
    }
}

/// PR-10: a session whose seat another session holds gets no page.
pub(crate) async fn a_page_is_for_the_holder_of_the_seat(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    rig.attached(1, seat(2)).await;
    let paged = rig
        .storage
        .page(user_agent(1), seat(1), everything())
        .await
        .unwrap();
    assert!(matches!(paged, Paged::Displaced));
    rig.page(1, seat(2), everything()).await;
}

/// PR-10: a session that finds the seat free takes it.
pub(crate) async fn a_free_seat_is_taken_by_a_read(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.page(1, seat(1), everything()).await;
    let paged = rig
        .storage
        .page(user_agent(1), seat(2), everything())
        .await
        .unwrap();
    assert!(matches!(paged, Paged::Displaced));
}

/// PR-10: only the holder can release the seat.
pub(crate) async fn only_the_holder_releases(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    rig.storage.release(user_agent(1), seat(2)).await.unwrap();
    assert!(seated(rig).await);
    rig.storage.release(user_agent(1), seat(1)).await.unwrap();
    assert!(!seated(rig).await);
    rig.stored(enqueue(1, 1, b"a")).await;
    assert!(rig.announcements.take().is_empty());
}

async fn seated(rig: &Rig) -> bool {
    let report = rig.storage.inspect(user_agent(1)).await.unwrap();
    report.unwrap().seated
}

/// PR-7: each stored message is announced with its number and the one before, so that a gap shows.
pub(crate) async fn the_seat_is_told_of_each_stored_message(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let unseen = rig.stored(enqueue(1, 1, b"unseen")).await;
    assert!(rig.announcements.take().is_empty());
    let cursor = rig.attached(1, seat(1)).await.upto;
    assert_eq!(cursor, unseen.number);
    let mut previous = cursor;
    for body in [b"a", b"b"] {
        let id = rig.stored(enqueue(1, 1, body)).await;
        let told = rig.announcements.take();
        let [(agent, holder, WakeUp::Stored { message, previous: p })] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!((*agent, *holder, *p), (user_agent(1), seat(1), previous));
        assert_eq!((message.id, &message.content.body[..]), (id, &body[..]));
        assert_eq!(message.remaining_ms, 86_400_000);
        previous = id.number;
    }
}

/// PR-18: the holder is told which messages another session or a request removed, so that its window has room. It is not told what
/// it removed itself.
pub(crate) async fn the_seat_is_told_what_others_removed(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let rows = [
        (Removal::Acknowledged, Confirm::Soon, Some(seat(1)), false),
        (Removal::Acknowledged, Confirm::Durably, Some(seat(2)), true),
        (Removal::Cancelled, Confirm::Durably, None, true),
    ];
    for (removal, confirm, by, told) in rows {
        let id = rig.stored(enqueue(1, 1, b"a")).await;
        rig.announcements.take();
        let removed = rig
            .storage
            .acknowledge(user_agent(1), &[id], removal, confirm, by)
            .await
            .unwrap();
        assert_eq!(removed, [true]);
        let expected = if told { vec![id] } else { vec![] };
        assert_eq!(
            rig.announcements.take_removed(seat(1)),
            expected,
            "{removal:?} by {by:?}"
        );
    }
}

/// PR-18: the holder is also told which messages were replaced or have expired.
pub(crate) async fn the_seat_is_told_what_was_replaced_or_expired(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let with_topic = |body: &[u8]| Enqueue {
        topic: topic("a"),
        ttl: Ttl::from_secs(10),
        ..enqueue(1, 1, body)
    };
    let old = rig.stored(with_topic(b"old")).await;
    let new = rig.stored(with_topic(b"new")).await;
    assert_eq!(rig.announcements.take_removed(seat(1)), [old]);
    rig.advance(std::time::Duration::from_secs(10));
    rig.storage.refresh(&[(user_agent(1), seat(1))]).await.unwrap();
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 1);
    assert_eq!(rig.announcements.take_removed(seat(1)), [new]);
}

/// PR-21, R30-TTL-7: a message with TTL 0 is told to a seat if there is one, takes no number and is never stored.
pub(crate) async fn a_message_with_ttl_zero_passes_by(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let passing = || Enqueue {
        ttl: Ttl::ZERO,
        ..enqueue(1, 1, b"now")
    };
    let without_seat = rig.storage.enqueue(passing()).await.unwrap();
    assert!(matches!(without_seat, Enqueued::Passed { seated: false, .. }));
    let page = rig.attached(1, seat(1)).await;
    assert_eq!((ids(&page), page.upto), (vec![], MessageNumber::START));

    let with_seat = rig.storage.enqueue(passing()).await.unwrap();
    let Enqueued::Passed { id, seated: true } = with_seat else {
        panic!("{with_seat:?}");
    };
    assert_eq!((id.number, id.nonce), (MessageNumber::START, passing().nonce));
    let told = rig.announcements.take();
    let [(_, _, WakeUp::Passing(message))] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((message.id, message.remaining_ms), (id, 0));
    let stranger = Enqueue {
        ttl: Ttl::ZERO,
        ..enqueue(1, 9, b"x")
    };
    assert_eq!(
        rig.storage.enqueue(stranger).await.unwrap(),
        Enqueued::NoSubscription
    );
    assert_eq!(rig.usage().await.messages, 0);
}

/// PR-21: a message with TTL 0 removes the waiting message of its topic.
pub(crate) async fn a_message_with_ttl_zero_replaces_its_topic(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let with_ttl = |secs| Enqueue {
        topic: topic("a"),
        ttl: Ttl::from_secs(secs),
        ..enqueue(1, 1, b"a")
    };
    rig.stored(with_ttl(60)).await;
    rig.storage.enqueue(with_ttl(0)).await.unwrap();
    assert_eq!(rig.waiting(1).await, []);
}

/// PR-12: a subscribe that makes the record takes the seat. One that finds a record leaves its seat as it is.
pub(crate) async fn the_subscription_that_makes_the_record_takes_the_seat(rig: &Rig) {
    let seated = |n, holder| Subscribe {
        seat: Some(seat(holder)),
        ..subscribe(1, n)
    };
    rig.storage.subscribe(seated(1, 1)).await.unwrap();
    rig.storage.subscribe(seated(2, 2)).await.unwrap();
    let id = rig.stored(enqueue(1, 2, b"a")).await;
    let told = rig.announcements.take();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1, seat(1));
    assert_eq!(ids(&rig.page(1, seat(1), everything()).await), [id]);
}

/// PR-15: the eleventh attach within a minute is told to wait for the rest of it, and changes nothing; one that has waited
/// gets the seat.
pub(crate) async fn an_attach_too_many_has_to_wait(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let attach = async |n, manner| {
        let attached = rig.storage.attach(user_agent(1), seat(n), everything(), manner);
        attached.await.unwrap()
    };
    for n in 0..u64::from(ATTACHES_PER_MINUTE) {
        assert!(matches!(attach(n, Manner::Asking).await, Attached::Known { .. }));
        rig.advance(Duration::from_secs(1));
    }
    let last = seat(u64::from(ATTACHES_PER_MINUTE) - 1);
    let Attached::TooOften { retry_after } = attach(90, Manner::Asking).await else {
        panic!("the attach did not have to wait");
    };
    assert_eq!(retry_after, Duration::from_secs(50));
    rig.page(1, last, everything()).await;
    let Attached::Known { displaced, .. } = attach(90, Manner::Insisting).await else {
        panic!("no seat after the wait");
    };
    assert_eq!(displaced, Some(last));
    rig.advance(Duration::from_secs(50));
    assert!(matches!(attach(91, Manner::Asking).await, Attached::Known { .. }));
}

/// PR-10, PR-14: a refresh says for many sessions at once whether each holds its seat, and the last number of its queue. It takes
/// free seats.
pub(crate) async fn a_refresh_compares_many_seats(rig: &Rig) {
    for n_agent in [1, 2, 3] {
        rig.storage.subscribe(subscribe(n_agent, 1)).await.unwrap();
    }
    let last = rig.stored(enqueue(1, 1, b"a")).await.number;
    rig.attached(1, seat(1)).await;
    rig.attached(2, seat(9)).await;
    let held = [1, 2, 3, 4].map(|n| (user_agent(n), seat(u64::from(n))));
    let refreshed = rig.storage.refresh(&held).await.unwrap();
    let start = MessageNumber::START;
    let expected = [
        Refreshed::Held { last },
        Refreshed::Displaced,
        Refreshed::Held { last: start },
        Refreshed::Unknown,
    ];
    assert_eq!(refreshed, expected);
    rig.announcements.take();
    rig.stored(enqueue(3, 1, b"b")).await;
    assert_eq!(rig.announcements.take()[0].1, seat(3), "the free seat was taken");
}

//! Subscriptions are made and end, and each is kept apart from the others.

use push_protocol::KeyDigest;

use super::rig::{Rig, enqueue, everything, name, seat, subscribe, subscription, user_agent};
use crate::storage::{Attached, Enqueued, Manner, Paged, Subscribe, Subscribed, Usage};

/// PR-9: subscribing with a known name keeps the subscription and its waiting messages.
pub(crate) async fn a_registered_name_keeps_its_subscription(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"waits")).await;
    let again = Subscribe {
        fresh_id: subscription(9),
        ..subscribe(1, 1)
    };
    let subscribed = rig.storage.subscribe(again).await.unwrap();
    assert_eq!(subscribed, Subscribed::Kept(subscription(1)));
    assert_eq!(rig.waiting(1).await, [id]);
}

/// A user agent at its limit may still register what it has. With a limit of 0 nothing is made, not even a record.
pub(crate) async fn a_limit_on_subscriptions_refuses_only_new_names(rig: &Rig) {
    let limited = |n| Subscribe {
        limit: 2,
        ..subscribe(1, n)
    };
    for n in [1, 2] {
        let subscribed = rig.storage.subscribe(limited(n)).await.unwrap();
        assert_eq!(subscribed, Subscribed::Created(subscription(n)));
    }
    assert_eq!(
        rig.storage.subscribe(limited(3)).await.unwrap(),
        Subscribed::TooMany
    );
    assert_eq!(
        rig.storage.subscribe(limited(2)).await.unwrap(),
        Subscribed::Kept(subscription(2))
    );
    let rows = [
        (1, 2, Subscribed::Kept(subscription(2))),
        (1, 3, Subscribed::TooMany),
        (2, 1, Subscribed::TooMany),
    ];
    for (agent, n, expected) in rows {
        let none = Subscribe {
            limit: 0,
            ..subscribe(agent, n)
        };
        assert_eq!(rig.storage.subscribe(none).await.unwrap(), expected);
    }
    assert!(rig.storage.inspect(user_agent(2)).await.unwrap().is_none());
}

/// PR-9, R30-EXP-7: the messages of an ended subscription are never delivered and new ones are refused; the others go on.
pub(crate) async fn an_ended_subscription_is_never_delivered(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    let ended = rig.stored(enqueue(1, 1, b"ended")).await;
    let kept = rig.stored(enqueue(1, 2, b"kept")).await;
    let answer = rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    assert_eq!(answer, Some(subscription(1)));
    let again = rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    assert_eq!(again, None);

    let refused = rig.storage.enqueue(enqueue(1, 1, b"late")).await.unwrap();
    assert_eq!(refused, Enqueued::NoSubscription);
    assert_eq!(rig.waiting(1).await, [kept]);
    assert_eq!(rig.acknowledged(1, &[ended]).await, [false]);
    assert_eq!(rig.usage().await.messages, 1);
    // Its messages are freed in the same step or by a sweep.
    assert!(rig.storage.expire(10).await.unwrap().total() <= 1);
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 0);
    assert_eq!(rig.waiting(1).await, [kept]);
}

/// PR-9, R30-SUB-7: a subscription that is made again with the name of an ended one is another one. The old push URL does not work.
pub(crate) async fn a_name_registered_again_is_another_subscription(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.stored(enqueue(1, 1, b"old")).await;
    rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    let again = Subscribe {
        fresh_id: subscription(5),
        ..subscribe(1, 1)
    };
    let subscribed = rig.storage.subscribe(again).await.unwrap();
    assert_eq!(subscribed, Subscribed::Created(subscription(5)));
    let old = rig.storage.enqueue(enqueue(1, 1, b"late")).await.unwrap();
    assert_eq!(old, Enqueued::NoSubscription);
    let new = rig.stored(enqueue(1, 5, b"new")).await;
    assert_eq!(rig.waiting(1).await, [new]);
}

/// PR-3: a healthy store says that an unknown user agent is unknown, and writes nothing about it.
pub(crate) async fn nothing_is_written_for_a_stranger(rig: &Rig) {
    let (agent, holder) = (user_agent(1), seat(1));
    let attached = rig
        .storage
        .attach(agent, holder, everything(), Manner::Insisting)
        .await
        .unwrap();
    assert!(matches!(attached, Attached::Unknown));
    let paged = rig.storage.page(agent, holder, everything()).await.unwrap();
    assert!(matches!(paged, Paged::Unknown));
    let enqueued = rig.storage.enqueue(enqueue(1, 1, b"x")).await.unwrap();
    assert_eq!(enqueued, Enqueued::NoSubscription);
    assert_eq!(rig.storage.unsubscribe(agent, name(1)).await.unwrap(), None);
    rig.storage.release(agent, holder).await.unwrap();
    assert!(rig.storage.inspect(agent).await.unwrap().is_none());
    assert_eq!(rig.usage().await, Usage::default());
}

/// PR-12: after the end of the last subscription the record is kept only while a session holds its seat.
pub(crate) async fn a_record_stays_while_its_seat_is_held(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    rig.page(1, seat(1), everything()).await;
    assert_eq!(rig.usage().await.user_agents, 1);

    rig.storage.release(user_agent(1), seat(1)).await.unwrap();
    let attached = rig
        .storage
        .attach(user_agent(1), seat(2), everything(), Manner::Insisting)
        .await
        .unwrap();
    assert!(matches!(attached, Attached::Unknown));
    rig.storage.expire(10).await.unwrap();
    assert_eq!(rig.usage().await, Usage::default());
}

/// The report for operators has counts and names, and no content.
pub(crate) async fn a_report_shows_what_waits_and_nothing_else(rig: &Rig) {
    let restricted = Subscribe {
        key: Some(KeyDigest([4; 32])),
        ..subscribe(1, 2)
    };
    rig.subscribed(1, 1).await;
    rig.storage.subscribe(restricted).await.unwrap();
    let id = rig.stored(enqueue(1, 2, b"12345")).await;
    rig.attached(1, seat(1)).await;
    let report = rig.storage.inspect(user_agent(1)).await.unwrap().unwrap();
    assert_eq!((report.messages, report.seated), (1, true));
    assert_eq!(report.last_number, id.number.0);
    assert_eq!(report.bytes, 5 + crate::defaults::MESSAGE_OVERHEAD_BYTES);
    let shares: Vec<_> = report
        .subscriptions
        .iter()
        .map(|s| (s.restricted, s.messages))
        .collect();
    assert_eq!(shares, [(false, 0), (true, 1)]);
    assert_eq!(report.subscriptions[0].name, name(1).to_string());
}

/// PR-28: a list without the sealing key in use is refused. A key that only opens tokens may be left out.
pub(crate) async fn the_sealing_key_in_use_must_stay(rig: &Rig) {
    let (old, new) = ([1; 8], [2; 8]);
    rig.storage.admit_sealing_keys(&[old]).await.unwrap();
    rig.storage.admit_sealing_keys(&[new]).await.unwrap_err();
    rig.storage.admit_sealing_keys(&[new, old]).await.unwrap();
    rig.storage.admit_sealing_keys(&[old]).await.unwrap_err();
    rig.storage.admit_sealing_keys(&[new]).await.unwrap();
}

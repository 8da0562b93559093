//! Subscriptions and subscription sets end by their ids, and the holder of the seat is told.

use super::rig::{Rig, enqueue, everything, name, seat, subscribe, subscription, user_agent};
use crate::storage::{Attached, Ending, Enqueued, Manner, Paged, Subscribe, Subscribed, WakeUp};

async fn ended(rig: &Rig, ending: Ending) -> bool {
    rig.storage.end(user_agent(1), ending).await.unwrap()
}

async fn is_unknown(rig: &Rig) -> bool {
    let attach = rig
        .storage
        .attach(user_agent(1), seat(9), everything(), Manner::Insisting);
    matches!(attach.await.unwrap(), Attached::Unknown)
}

/// R30-EXP-3, R30-EXP-4, R30-EXP-6, R30-EXP-8, PR-9: a subscription ends by its id, once; its messages are never
/// delivered, and the others go on.
pub(crate) async fn a_subscription_ends_by_its_id(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    rig.stored(enqueue(1, 1, b"ended")).await;
    let kept = rig.stored(enqueue(1, 2, b"kept")).await;
    assert!(ended(rig, Ending::One(subscription(1))).await);
    assert!(!ended(rig, Ending::One(subscription(1))).await, "it ends once");
    assert!(
        !ended(rig, Ending::One(subscription(7))).await,
        "and no other does"
    );
    let refused = rig.storage.enqueue(enqueue(1, 1, b"late")).await.unwrap();
    assert_eq!(refused, Enqueued::NoSubscription);
    assert_eq!(rig.waiting(1).await, [kept]);
    // Its messages are freed in the same step or by a sweep.
    assert!(rig.storage.expire(10).await.unwrap().total() <= 1);
    assert_eq!(rig.usage().await.messages, 1);
    assert_eq!(rig.waiting(1).await, [kept]);
}

/// R30-EXP-2, PR-12: the holder of the seat is told first which messages left the queue, then which subscription ended: by id
/// and by name alike. The user agent's record stays.
pub(crate) async fn the_seat_is_told_which_subscription_ended(rig: &Rig) {
    for n in [1, 2] {
        rig.subscribed(1, n).await;
        let id = rig.stored(enqueue(1, n, b"a")).await;
        rig.attached(1, seat(1)).await;
        rig.announcements.take();
        if n == 1 {
            assert!(ended(rig, Ending::One(subscription(n))).await);
        } else {
            rig.storage.unsubscribe(user_agent(1), name(n)).await.unwrap();
        }
        let told = rig.announcements.take();
        let [(_, a, WakeUp::Removed(removed)), (_, b, WakeUp::Ended(which))] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!((*a, *b, &removed[..]), (seat(1), seat(1), &[id][..]));
        assert_eq!(*which, Some(subscription(n)));
        rig.page(1, seat(1), everything()).await;
    }
}

/// R30-EXP-2, R30-EXP-5, PR-12: a subscription set ends with all its subscriptions, though a session holds its seat: that
/// one is told, and a user agent that comes back is unknown.
pub(crate) async fn a_set_ends_with_its_subscriptions(rig: &Rig) {
    let mut ids = Vec::new();
    for n in [1, 2] {
        rig.subscribed(1, n).await;
        ids.push(rig.stored(enqueue(1, n, b"a")).await);
    }
    rig.subscribed(2, 3).await;
    rig.attached(1, seat(1)).await;
    rig.announcements.take();
    assert!(ended(rig, Ending::All).await);
    let mut removed = Vec::new();
    let mut told = rig.announcements.take();
    let last = told.pop();
    for (_, holder, wake_up) in told {
        match wake_up {
            WakeUp::Removed(ids) if holder == seat(1) => removed.extend(ids),
            other => panic!("{other:?}"),
        }
    }
    removed.sort_unstable();
    assert_eq!(removed, ids);
    assert!(
        matches!(last, Some((_, holder, WakeUp::Ended(None))) if holder == seat(1)),
        "{last:?}"
    );

    let paged = rig
        .storage
        .page(user_agent(1), seat(1), everything())
        .await
        .unwrap();
    assert!(matches!(paged, Paged::Unknown));
    assert!(is_unknown(rig).await);
    assert!(rig.storage.inspect(user_agent(1)).await.unwrap().is_none());
    assert!(!ended(rig, Ending::All).await, "it ends once");
    while rig.storage.expire(10).await.unwrap().total() > 0 {}
    assert!(is_unknown(rig).await);
    assert_eq!(rig.usage().await.user_agents, 1, "the other one goes on");
}

/// R30-EXP-5: a set without subscriptions, which only a seat keeps, can be ended.
pub(crate) async fn an_empty_set_ends_too(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    assert!(ended(rig, Ending::One(subscription(1))).await);
    rig.announcements.take();
    assert!(ended(rig, Ending::All).await);
    let told = rig.announcements.take();
    assert!(matches!(told[..], [(_, _, WakeUp::Ended(None))]), "{told:?}");
    assert!(is_unknown(rig).await);
}

/// R30-EXP-8: nothing of an unknown user agent ends.
pub(crate) async fn of_a_stranger_nothing_ends(rig: &Rig) {
    assert!(!ended(rig, Ending::All).await);
    assert!(!ended(rig, Ending::One(subscription(1))).await);
    assert!(rig.storage.is_empty().await.unwrap());
}

/// R30-MON-17: storage says which subscriptions it knows, each with its user agent.
pub(crate) async fn a_subscription_is_known_until_it_ends(rig: &Rig) {
    let knows = async |n_agent, n| {
        let (agent, id) = (user_agent(n_agent), subscription(n));
        rig.storage.has_subscription(agent, id).await.unwrap()
    };
    assert!(!knows(1, 1).await);
    rig.subscribed(1, 1).await;
    rig.subscribed(2, 2).await;
    assert!(knows(1, 1).await && knows(2, 2).await);
    assert!(!knows(1, 2).await && !knows(2, 1).await);
    assert!(ended(rig, Ending::All).await);
    assert!(!knows(1, 1).await && knows(2, 2).await);
}

/// R30-SUB-5: no subscription is made in a set that has ended or never existed.
pub(crate) async fn a_subscription_may_ask_for_a_known_set(rig: &Rig) {
    let in_a_set = |n| Subscribe {
        only_known: true,
        ..subscribe(1, n)
    };
    let unknown = rig.storage.subscribe(in_a_set(1)).await.unwrap();
    assert_eq!(unknown, Subscribed::UnknownUserAgent);
    assert!(rig.storage.is_empty().await.unwrap());
    rig.subscribed(1, 1).await;
    let known = rig.storage.subscribe(in_a_set(2)).await.unwrap();
    assert_eq!(known, Subscribed::Created(subscription(2)));
    let kept = rig.storage.subscribe(in_a_set(1)).await.unwrap();
    assert_eq!(kept, Subscribed::Kept(subscription(1)));

    rig.attached(1, seat(1)).await;
    for n in [1, 2] {
        assert!(ended(rig, Ending::One(subscription(n))).await);
    }
    let of_an_empty_set = rig.storage.subscribe(in_a_set(3)).await.unwrap();
    assert_eq!(of_an_empty_set, Subscribed::Created(subscription(3)));
    assert!(ended(rig, Ending::All).await);
    let unknown = rig.storage.subscribe(in_a_set(4)).await.unwrap();
    assert_eq!(unknown, Subscribed::UnknownUserAgent);
}

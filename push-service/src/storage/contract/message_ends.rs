//! How messages end for which a receipt was requested: each ends once, and the outbox has the outcome (PR-25).

use std::time::Duration;

use push_protocol::{MessageId, ReceiptOutcome, Ttl, Urgency};

use super::rig::{Rig, enqueue, name, seat, subscription, topic, user_agent};
use crate::storage::{
    Attached, Confirm, Ending, Enqueue, Enqueued, Manner, MessageEnd, QueueLimits, Removal, Traced,
};

/// The receipt subscription of these cases. A user agent that only keeps its id need not know it.
const RECEIPTS: u8 = 9;

fn asking(body: &[u8]) -> Enqueue {
    Enqueue {
        receipts: Some(user_agent(RECEIPTS)),
        ..enqueue(1, 1, body)
    }
}

fn outcome(id: MessageId, how: ReceiptOutcome) -> MessageEnd {
    MessageEnd {
        receipts: user_agent(RECEIPTS),
        user_agent: user_agent(1),
        id,
        how,
    }
}

async fn outbox(rig: &Rig) -> Vec<MessageEnd> {
    let mut outbox = rig.storage.outbox(user_agent(1), 100).await.unwrap();
    outbox.sort_unstable_by_key(|outcome| outcome.id);
    outbox
}

async fn trace(rig: &Rig, id: MessageId) -> Traced {
    rig.storage.trace(user_agent(1), id.nonce).await.unwrap()
}

/// PR-25, R30-ACK-4: an acknowledgement puts an outcome into the outbox, durably, and storage hints at the outbox. A second
/// acknowledgement adds nothing.
pub(crate) async fn an_acknowledged_message_has_its_outcome(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let ids = [rig.stored(asking(b"a")).await, rig.stored(asking(b"b")).await];
    assert_eq!(outbox(rig).await, []);
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), []);
    let soon = rig.storage.acknowledge(
        user_agent(1),
        &ids[..1],
        Removal::Acknowledged,
        Confirm::Soon,
        None,
    );
    assert_eq!(soon.await.unwrap(), [true]);
    assert_eq!(outbox(rig).await, [outcome(ids[0], ReceiptOutcome::Acknowledged)]);
    assert_eq!(rig.announcements.filled_outbox().await, user_agent(1));
    assert_eq!(rig.acknowledged(1, &ids).await, [false, true]);
    let both = ids.map(|id| outcome(id, ReceiptOutcome::Acknowledged));
    assert_eq!(outbox(rig).await, both);
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), [user_agent(1)]);
    assert_eq!(rig.acknowledged(1, &ids).await, [false, false]);
    assert_eq!(outbox(rig).await, both);
}

/// PR-25: a message without a receipt leaves nothing behind.
pub(crate) async fn without_a_receipt_nothing_is_owed(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"a")).await;
    assert_eq!(trace(rig, id).await, Traced::Nothing);
    rig.acknowledged(1, &[id]).await;
    assert_eq!(outbox(rig).await, []);
    assert_eq!(trace(rig, id).await, Traced::Nothing);
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), []);
    assert_eq!(rig.storage.outbox(user_agent(7), 10).await.unwrap(), []);
}

/// PR-25, PR-26: a message that its application server takes back ends as given up.
pub(crate) async fn a_cancelled_message_is_given_up(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(asking(b"a")).await;
    assert_eq!(rig.cancelled(1, id).await, [true]);
    assert_eq!(outbox(rig).await, [outcome(id, ReceiptOutcome::GivenUp)]);
}

/// PR-25, R30-TOP-4, R30-RDL-6: a message that is replaced ends as replaced; the new one has its own receipt or none. One that had
/// expired before ends as given up.
pub(crate) async fn a_replaced_message_says_so(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let topical = |body: &[u8], secs| Enqueue {
        topic: topic("t"),
        ttl: Ttl::from_secs(secs),
        ..asking(body)
    };
    let first = rig.stored(topical(b"1", 60)).await;
    let second = rig.stored(topical(b"2", 5)).await;
    assert_eq!(outbox(rig).await, [outcome(first, ReceiptOutcome::Replaced)]);
    assert_eq!(trace(rig, second).await, Traced::Waiting);
    rig.advance(Duration::from_secs(5));
    let without = Enqueue {
        receipts: None,
        ..topical(b"3", 60)
    };
    let third = rig.stored(without).await;
    let ended = [
        outcome(first, ReceiptOutcome::Replaced),
        outcome(second, ReceiptOutcome::GivenUp),
    ];
    assert_eq!(outbox(rig).await, ended);
    rig.acknowledged(1, &[third]).await;
    assert_eq!(outbox(rig).await, ended);
}

/// PR-21, PR-25: a message with TTL 0 replaces like any other.
pub(crate) async fn a_passing_message_replaces_too(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let topical = |body: &[u8]| Enqueue {
        topic: topic("t"),
        ..asking(body)
    };
    let old = rig.stored(topical(b"old")).await;
    let passing = Enqueue {
        ttl: Ttl::ZERO,
        receipts: None,
        ..topical(b"new")
    };
    rig.storage.enqueue(passing).await.unwrap();
    assert_eq!(outbox(rig).await, [outcome(old, ReceiptOutcome::Replaced)]);
}

/// PR-23, PR-25, R30-ACK-6: an evicted message ends as given up. Entries of the outbox take no room in the queue.
pub(crate) async fn an_evicted_message_is_given_up(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let tight = |body: &[u8]| Enqueue {
        queue_limits: QueueLimits {
            messages: 2,
            bytes: u64::MAX,
        },
        ..asking(body)
    };
    let ids = [rig.stored(tight(b"1")).await, rig.stored(tight(b"2")).await];
    let third = rig.stored(tight(b"3")).await;
    let fourth = rig.stored(tight(b"4")).await;
    assert_eq!(
        outbox(rig).await,
        ids.map(|id| outcome(id, ReceiptOutcome::GivenUp))
    );
    assert_eq!(rig.waiting(1).await, [third, fourth]);
    assert_eq!(rig.usage().await.messages, 2);
    let refused = Enqueue {
        urgency: Urgency::VeryLow,
        ..tight(b"5")
    };
    assert_eq!(rig.storage.enqueue(refused).await.unwrap(), Enqueued::QueueFull);
    assert_eq!(outbox(rig).await.len(), 2, "a refused message was never there");
}

/// PR-25, R30-RDL-4: an acknowledgement after the expiry is too late: the message ends as given up, swept or not.
pub(crate) async fn a_late_acknowledgement_gives_up(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let brief = Enqueue {
        ttl: Ttl::from_secs(5),
        ..asking(b"a")
    };
    let id = rig.stored(brief).await;
    rig.advance(Duration::from_secs(5));
    let given_up = outcome(id, ReceiptOutcome::GivenUp);
    assert_eq!(
        trace(rig, id).await,
        Traced::Ended(given_up),
        "expired and not swept"
    );
    assert_eq!(rig.acknowledged(1, &[id]).await, [false]);
    assert_eq!(outbox(rig).await, [given_up]);
}

/// PR-25, R30-RDL-4: an expired message ends as given up when it is swept.
pub(crate) async fn an_expired_message_is_given_up(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let brief = Enqueue {
        ttl: Ttl::from_secs(5),
        ..asking(b"a")
    };
    let id = rig.stored(brief).await;
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.storage.expire(10).await.unwrap().expired, 1);
    assert_eq!(rig.announcements.filled_outbox().await, user_agent(1));
    assert_eq!(outbox(rig).await, [outcome(id, ReceiptOutcome::GivenUp)]);
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 0);
}

/// PR-9, PR-25, R30-EXP-7: messages of an ended subscription end as given up, at the latest when they are freed. The outbox
/// outlives the user agent's record.
pub(crate) async fn messages_of_an_ended_subscription_are_given_up(rig: &Rig) {
    for all in [false, true] {
        rig.subscribed(1, 1).await;
        let id = rig.stored(asking(&[u8::from(all)])).await;
        let given_up = outcome(id, ReceiptOutcome::GivenUp);
        match all {
            false => {
                let unsubscribe = rig.storage.unsubscribe(user_agent(1), name(1));
                assert_eq!(unsubscribe.await.unwrap(), Some(subscription(1)));
            }
            true => assert!(rig.storage.end(user_agent(1), Ending::All).await.unwrap()),
        }
        assert_eq!(trace(rig, id).await, Traced::Ended(given_up));
        assert_eq!(rig.acknowledged(1, &[id]).await, [false]);
        while rig.storage.expire(10).await.unwrap().total() > 0 {}
        assert_eq!(outbox(rig).await, [given_up]);
        let attach = rig
            .storage
            .attach(user_agent(1), seat(1), super::everything(), Manner::Insisting);
        assert!(matches!(attach.await.unwrap(), Attached::Unknown));
        assert_eq!(rig.storage.with_outbox(10).await.unwrap(), [user_agent(1)]);
        rig.storage.clear_outbox(user_agent(1), &[id]).await.unwrap();
        assert_eq!(rig.storage.with_outbox(10).await.unwrap(), []);
        assert!(rig.storage.is_empty().await.unwrap(), "nothing is left");
    }
}

/// PR-25, PR-29: the waiting messages of an abandoned user agent end as given up.
pub(crate) async fn an_abandoned_record_gives_its_messages_up(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.waiting(1).await;
    rig.advance(crate::defaults::RETENTION);
    let id = rig.stored(asking(b"a")).await;
    rig.advance(Duration::from_secs(86_399) + crate::defaults::RETENTION / 400);
    let given_up = outcome(id, ReceiptOutcome::GivenUp);
    assert_eq!(trace(rig, id).await, Traced::Ended(given_up));
    while rig.storage.expire(100).await.unwrap().total() > 0 {}
    assert_eq!(outbox(rig).await, [given_up]);
    rig.storage.clear_outbox(user_agent(1), &[id]).await.unwrap();
    assert!(rig.storage.is_empty().await.unwrap());
}

/// PR-6, PR-25: an entry of the outbox is cleared by the whole id of its message, and no other with it. What is over a limit comes
/// with the next look.
pub(crate) async fn what_was_carried_over_is_cleared(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let mut ids = Vec::new();
    for n in 0..5_u8 {
        ids.push(rig.stored(asking(&[n])).await);
    }
    rig.acknowledged(1, &ids[..4]).await;
    let first = rig.storage.outbox(user_agent(1), 3).await.unwrap();
    assert_eq!(first, outbox(rig).await[..3], "the oldest first");
    let forged = MessageId {
        nonce: !ids[0].nonce,
        ..ids[0]
    };
    let clear = [forged, ids[1], ids[4]];
    rig.storage.clear_outbox(user_agent(1), &clear).await.unwrap();
    rig.storage.clear_outbox(user_agent(1), &clear).await.unwrap();
    rig.storage.clear_outbox(user_agent(7), &clear).await.unwrap();
    let left: Vec<_> = outbox(rig).await.iter().map(|outcome| outcome.id).collect();
    assert_eq!(left, [ids[0], ids[2], ids[3]]);
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), [user_agent(1)]);
    rig.storage.clear_outbox(user_agent(1), &left).await.unwrap();
    assert_eq!(outbox(rig).await, []);
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), []);
    assert_eq!(rig.waiting(1).await, ids[4..], "what waits stays");
}

/// PR-25: a message can be traced by its nonce, with its own user agent, until its outcome is cleared.
pub(crate) async fn a_message_is_traced_to_its_end(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(2, 2).await;
    let id = rig.stored(asking(b"a")).await;
    rig.stored(asking(b"another")).await;
    assert_eq!(trace(rig, id).await, Traced::Waiting);
    let elsewhere = rig.storage.trace(user_agent(2), id.nonce).await.unwrap();
    assert_eq!(elsewhere, Traced::Nothing);
    rig.acknowledged(1, &[id]).await;
    let acknowledged = Traced::Ended(outcome(id, ReceiptOutcome::Acknowledged));
    assert_eq!(trace(rig, id).await, acknowledged);
    rig.storage.clear_outbox(user_agent(1), &[id]).await.unwrap();
    assert_eq!(trace(rig, id).await, Traced::Nothing);
    let stranger = rig.storage.trace(user_agent(7), id.nonce).await.unwrap();
    assert_eq!(stranger, Traced::Nothing);
}

/// PR-25: user agents with an outbox are listed, at most as many as are asked for.
pub(crate) async fn user_agents_with_an_outbox_are_found(rig: &Rig) {
    for n in 1..=3 {
        rig.subscribed(n, n).await;
        let asking = Enqueue {
            receipts: Some(user_agent(RECEIPTS)),
            ..enqueue(n, n, b"a")
        };
        let id = rig.stored(asking).await;
        rig.acknowledged(n, &[id]).await;
    }
    let mut owing = rig.storage.with_outbox(10).await.unwrap();
    owing.sort_unstable();
    assert_eq!(owing, [1, 2, 3].map(user_agent));
    assert_eq!(rig.storage.with_outbox(2).await.unwrap().len(), 2);
}

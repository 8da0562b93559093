//! Receipts of messages with TTL 0, which are never stored: they are remembered for as long as an acknowledgement counts
//! (PR-21, R30-RDL-5).

use std::time::Duration;

use push_protocol::{MessageId, ReceiptOutcome, Ttl};

use super::rig::{Rig, enqueue, seat, user_agent};
use crate::defaults::{ACKNOWLEDGE_WITHIN, PASSING_RECEIPTS};
use crate::storage::{Ending, Enqueue, Enqueued, MessageEnd, PASSING_WITH_RECEIPT, Traced, WakeUp};

fn passing(nonce: u64) -> Enqueue {
    Enqueue {
        ttl: Ttl::ZERO,
        nonce,
        receipts: Some(user_agent(9)),
        ..enqueue(1, 1, b"now")
    }
}

async fn passed(rig: &Rig, nonce: u64) -> (MessageId, bool) {
    match rig.storage.enqueue(passing(nonce)).await.unwrap() {
        Enqueued::Passed { id, seated } => (id, seated),
        other => panic!("{other:?}"),
    }
}

async fn outbox(rig: &Rig) -> Vec<(MessageId, ReceiptOutcome)> {
    let outbox = rig.storage.outbox(user_agent(1), 100).await.unwrap();
    let is_ours = |o: &MessageEnd| (o.receipts, o.user_agent) == (user_agent(9), user_agent(1));
    assert!(outbox.iter().all(is_ours), "{outbox:?}");
    let mut outbox: Vec<_> = outbox.iter().map(|o| (o.id, o.how)).collect();
    outbox.sort_unstable_by_key(|(id, _)| *id);
    outbox
}

/// PR-21, PR-25: a message with TTL 0 and a receipt has the number `PASSING_WITH_RECEIPT`. It is never stored. Its
/// acknowledgement counts once.
pub(crate) async fn a_passing_message_can_be_acknowledged(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let (id, seated) = passed(rig, 7).await;
    assert!(seated);
    assert_eq!((id.number, id.nonce), (PASSING_WITH_RECEIPT, 7));
    let told = rig.announcements.take();
    let [(_, _, WakeUp::Passing(message))] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(message.id, id);
    assert_eq!(
        rig.storage.trace(user_agent(1), 7).await.unwrap(),
        Traced::Waiting
    );
    assert_eq!(rig.usage().await.messages, 0);
    rig.advance(ACKNOWLEDGE_WITHIN - Duration::from_millis(1));
    let other = MessageId { nonce: 8, ..id };
    assert_eq!(rig.acknowledged(1, &[other, id, id]).await, [false, true, false]);
    assert_eq!(outbox(rig).await, [(id, ReceiptOutcome::Acknowledged)]);
    let traced = rig.storage.trace(user_agent(1), 7).await.unwrap();
    assert!(matches!(traced, Traced::Ended(outcome) if outcome.how == ReceiptOutcome::Acknowledged));
    rig.storage.clear_outbox(user_agent(1), &[id]).await.unwrap();
    assert_eq!(outbox(rig).await, []);
}

/// PR-21: without a seat to be told, it is given up at once.
pub(crate) async fn a_passing_message_without_a_listener_is_given_up(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let mut given_up = Vec::new();
    for nonce in [7, 8] {
        let (id, seated) = passed(rig, nonce).await;
        assert!(!seated);
        given_up.push((id, ReceiptOutcome::GivenUp));
    }
    assert_eq!(rig.announcements.filled_outbox().await, user_agent(1));
    assert_eq!(outbox(rig).await, given_up);
    assert_eq!(rig.acknowledged(1, &[given_up[0].0]).await, [false]);
    assert_eq!(outbox(rig).await, given_up);
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), [user_agent(1)]);
}

/// PR-21: an acknowledgement that comes too late does not count.
pub(crate) async fn a_passing_message_is_acknowledged_in_time(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let (id, _) = passed(rig, 7).await;
    rig.advance(ACKNOWLEDGE_WITHIN);
    let traced = rig.storage.trace(user_agent(1), 7).await.unwrap();
    assert!(!matches!(traced, Traced::Waiting), "{traced:?}");
    assert_eq!(rig.acknowledged(1, &[id]).await, [false]);
    assert!(
        outbox(rig)
            .await
            .iter()
            .all(|(_, how)| *how == ReceiptOutcome::GivenUp)
    );
}

/// PR-21, PR-25: a message with TTL 0 that is not acknowledged in time is given up by a sweep.
pub(crate) async fn a_passing_message_is_given_up_in_time(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let (id, _) = passed(rig, 7).await;
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 0);
    rig.advance(ACKNOWLEDGE_WITHIN);
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 1);
    assert_eq!(outbox(rig).await, [(id, ReceiptOutcome::GivenUp)]);
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 0);
}

/// PR-26: its application server can take it back.
pub(crate) async fn a_passing_message_can_be_cancelled(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let (id, _) = passed(rig, 7).await;
    assert_eq!(rig.cancelled(1, id).await, [true]);
    assert_eq!(outbox(rig).await, [(id, ReceiptOutcome::GivenUp)]);
}

/// PR-21, R30-EXP-7: if its subscription or its set ends, it is given up.
pub(crate) async fn a_passing_message_ends_with_its_subscription(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let (id, _) = passed(rig, 7).await;
    assert!(rig.storage.end(user_agent(1), Ending::All).await.unwrap());
    assert_eq!(rig.acknowledged(1, &[id]).await, [false]);
    while rig.storage.expire(10).await.unwrap().total() > 0 {}
    let left = outbox(rig).await;
    assert!(
        left.is_empty() || left == [(id, ReceiptOutcome::GivenUp)],
        "{left:?}"
    );
}

/// PR-21: the number that is remembered for one user agent is bounded. One more is given up at once, but is still announced.
pub(crate) async fn passing_messages_have_a_bound(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let mut ids = Vec::new();
    for nonce in 0..PASSING_RECEIPTS as u64 {
        ids.push(passed(rig, nonce).await.0);
    }
    assert_eq!(outbox(rig).await, []);
    let (one_more, seated) = passed(rig, 99).await;
    assert!(seated);
    assert_eq!(outbox(rig).await, [(one_more, ReceiptOutcome::GivenUp)]);
    assert_eq!(rig.acknowledged(1, &ids[..1]).await, [true]);
    passed(rig, 100).await;
    assert_eq!(outbox(rig).await.len(), 2, "there is room again");
}

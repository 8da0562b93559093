//! Receipts that are owed, and how messages ended, outlive a restart, and are not announced before they are on disk (PR-25).

use std::time::Duration;

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{Receipt, ReceiptOutcome, Ttl};

use super::*;
use crate::defaults::ACKNOWLEDGE_WITHIN;
use crate::storage::contract::{enqueue, everything, seat, subscribe, user_agent};
use crate::storage::{
    Ending, ExpectReceipt, MessageEnd, PASSING_WITH_RECEIPT, RECEIPTS, RECEIPTS_NAME, ReceiptExpected, Traced,
};

async fn monitored(rig: &Rig) {
    let request = Subscribe {
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        ..subscribe(9, 0)
    };
    rig.storage.subscribe(request).await.unwrap();
}

fn asking(body: &[u8]) -> Enqueue {
    Enqueue {
        receipts: Some(user_agent(9)),
        ..enqueue(1, 1, body)
    }
}

async fn expect(rig: &Rig, nonce: u64) -> ReceiptExpected {
    let expected = ExpectReceipt {
        user_agent: user_agent(1),
        nonce,
        dialect: Dialect::Rfc8030,
        sealed_by: KeyId(3),
        within: Duration::from_secs(60),
        limit: 3,
    };
    rig.storage.expect_receipt(user_agent(9), expected).await.unwrap()
}

fn outcome(id: MessageId, how: ReceiptOutcome) -> MessageEnd {
    MessageEnd {
        receipts: user_agent(9),
        user_agent: user_agent(1),
        id,
        how,
    }
}

/// PR-25: who is to be told, what became of messages, what is owed and what waits outlive a restart; and all of it is found
/// without asking for it by name.
#[tokio::test]
async fn a_restart_keeps_what_is_owed() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    monitored(&rig).await;
    rig.subscribed(1, 1).await;
    let acknowledged = rig.stored(asking(b"acknowledged")).await;
    let ended = rig.stored(asking(b"waits")).await;
    let passing = Enqueue {
        ttl: Ttl::ZERO,
        ..asking(b"passing")
    };
    let Enqueued::Passed { id: passed, .. } = rig.storage.enqueue(passing).await.unwrap() else {
        panic!("stored");
    };
    for nonce in [acknowledged.nonce, ended.nonce, passed.nonce] {
        assert_eq!(expect(&rig, nonce).await, ReceiptExpected::Recorded);
    }
    rig.acknowledged(1, &[acknowledged]).await;
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), [user_agent(1)]);
    let outbox = rig.storage.outbox(user_agent(1), 10).await.unwrap();
    assert_eq!(passed.number, PASSING_WITH_RECEIPT);
    let expected = [
        outcome(acknowledged, ReceiptOutcome::Acknowledged),
        outcome(passed, ReceiptOutcome::GivenUp),
    ];
    assert_eq!(outbox, expected);
    let traced = rig.storage.trace(user_agent(1), ended.nonce).await.unwrap();
    assert_eq!(traced, Traced::Waiting);
    assert_eq!(expect(&rig, 7).await, ReceiptExpected::TooMany, "three are owed");
    rig.storage.settle_receipts(user_agent(9), &outbox).await.unwrap();
    let cleared = [acknowledged, passed];
    rig.storage.clear_outbox(user_agent(1), &cleared).await.unwrap();
    assert!(rig.storage.end(user_agent(1), Ending::All).await.unwrap());
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.storage.with_outbox(10).await.unwrap(), []);
    while rig.storage.expire(10).await.unwrap().total() > 0 {}
    let outbox = rig.storage.outbox(user_agent(1), 10).await.unwrap();
    assert_eq!(outbox, [outcome(ended, ReceiptOutcome::GivenUp)]);
    rig.advance(Duration::from_secs(60));
    let overdue = rig.storage.overdue(10).await.unwrap();
    assert_eq!(overdue.len(), 1);
    assert_eq!(overdue[0].nonce, ended.nonce);
    let page = rig.attached(9, seat(1)).await;
    let receipts = page.messages.iter().map(|message| {
        let receipt = Receipt::from_bytes(&message.content.body).unwrap();
        (receipt.message.id, receipt.how)
    });
    let receipts: Vec<_> = receipts.collect();
    assert_eq!(
        receipts,
        [
            (acknowledged, ReceiptOutcome::Acknowledged),
            (passed, ReceiptOutcome::GivenUp)
        ]
    );
    rig.storage.close().await.unwrap();
}

/// PR-21, PR-25: a restart forgets none of the messages that pass by: one is acknowledged after it, one's time runs out, and
/// what became of both is told.
#[tokio::test]
async fn a_restart_keeps_what_passes_by() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;
    let mut ids = Vec::new();
    for nonce in [1, 2] {
        let passing = Enqueue {
            ttl: Ttl::ZERO,
            nonce,
            ..asking(b"passing")
        };
        let Enqueued::Passed { id, seated: true } = rig.storage.enqueue(passing).await.unwrap() else {
            panic!("it was not heard");
        };
        ids.push(id);
    }
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.usage().await.messages, 0);
    let traced = rig.storage.trace(user_agent(1), 1).await.unwrap();
    assert_eq!(traced, Traced::Waiting);
    assert_eq!(rig.acknowledged(1, &ids[..1]).await, [true]);
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    rig.advance(ACKNOWLEDGE_WITHIN);
    assert_eq!(rig.storage.expire(10).await.unwrap().total(), 1);
    let expected = [
        outcome(ids[0], ReceiptOutcome::Acknowledged),
        outcome(ids[1], ReceiptOutcome::GivenUp),
    ];
    assert_eq!(rig.storage.outbox(user_agent(1), 10).await.unwrap(), expected);
    rig.storage.clear_outbox(user_agent(1), &ids).await.unwrap();
    rig.storage.end(user_agent(1), Ending::All).await.unwrap();
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    assert!(rig.storage.is_empty().await.unwrap(), "nothing of it is left");
    rig.storage.close().await.unwrap();
}

/// PR-25, PR-29: what was owed to a receipt subscription that ended just before a restart is freed after it, deadlines and
/// all.
#[tokio::test]
async fn what_is_forsaken_is_freed_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    monitored(&rig).await;
    for nonce in 1..=3 {
        assert_eq!(expect(&rig, nonce).await, ReceiptExpected::Recorded);
    }
    assert!(rig.storage.end(user_agent(9), Ending::All).await.unwrap());
    rig.storage.close().await.unwrap();

    let rig = open_in(directory.path(), Arc::default());
    let given_up = outcome(MessageId::from_bytes([1; 16]), ReceiptOutcome::GivenUp);
    rig.storage
        .settle_receipts(user_agent(9), &[given_up])
        .await
        .unwrap();
    while rig.storage.expire(2).await.unwrap().total() > 0 {}
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.storage.overdue(10).await.unwrap(), []);
    assert!(rig.storage.is_empty().await.unwrap());
    rig.storage.close().await.unwrap();
}

/// PR-1, PR-25: an outcome is told of, and given out, only after its acknowledgement was synced.
#[tokio::test]
async fn an_outcome_is_announced_after_it_is_synced() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    rig.subscribed(1, 1).await;
    let ids = [rig.stored(asking(b"a")).await, rig.stored(asking(b"b")).await];
    let acknowledge = async |id: MessageId| {
        let (agent, ids, removal) = (user_agent(1), [id], Removal::Acknowledged);
        let removed = rig.storage.acknowledge(agent, &ids, removal, Confirm::Soon, None);
        assert_eq!(removed.await.unwrap(), [true]);
    };
    let before = disk.syncs.load(Ordering::SeqCst);
    acknowledge(ids[0]).await;
    assert_eq!(rig.announcements.filled_outbox().await, user_agent(1));
    assert!(disk.syncs.load(Ordering::SeqCst) > before, "told before the sync");
    assert_eq!(rig.storage.outbox(user_agent(1), 10).await.unwrap().len(), 1);

    disk.syncs_fail.store(true, Ordering::SeqCst);
    acknowledge(ids[1]).await;
    assert!(rig.storage.outbox(user_agent(1), 10).await.is_err());
    assert!(rig.storage.trace(user_agent(1), ids[1].nonce).await.is_err());
    assert!(rig.storage.close().await.is_err());
    assert!(
        rig.announcements.take_owes().is_empty(),
        "what was never synced is not announced"
    );
}

/// PR-1, PR-25: a receipt that could not be made durable is neither told of nor handed out.
#[tokio::test]
async fn no_receipt_leaves_before_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    monitored(&rig).await;
    assert_eq!(expect(&rig, 7).await, ReceiptExpected::Recorded);
    rig.attached(9, seat(1)).await;
    rig.announcements.take();
    let mut id = MessageId::from_bytes([1; 16]);
    id.nonce = 7;
    disk.syncs_fail.store(true, Ordering::SeqCst);
    let outcomes = [outcome(id, ReceiptOutcome::Acknowledged)];
    let settle = rig.storage.settle_receipts(user_agent(9), &outcomes);
    // Under way at the same time: it finds the receipt decided and not durable.
    let read = rig.storage.page(user_agent(9), seat(1), everything());
    let (settled, paged) = futures_util::future::join(settle, read).await;
    assert!(settled.is_err() && paged.is_err(), "{settled:?} {paged:?}");
    assert!(rig.announcements.take().is_empty());
    assert!(rig.storage.close().await.is_err());
}

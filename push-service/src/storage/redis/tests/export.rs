//! What is kept of receipts leaves Redis and comes back whole.

use std::sync::Arc;

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{KeyDigest, ReceiptOutcome, Ttl};
use push_tests::redis::{Configuration, Server};

use super::{OWN, open_with};
use crate::defaults::RETENTION;
use crate::storage::contract::{Announcements, Rig, enqueue, seat, subscribe, topic, user_agent};
use crate::storage::memory::Memory;
use crate::storage::{
    Ending, Enqueue, Enqueued, ExpectReceipt, Imported, Portable, RECEIPTS, RECEIPTS_NAME, ReceiptExpected,
    Storage, Subscribe, Traced,
};

/// The receipt subscription of these tests.
const TO: u8 = 9;

fn asking(n_agent: u8, body: &[u8]) -> Enqueue {
    Enqueue {
        receipts: Some(user_agent(TO)),
        key: Some(KeyDigest([5; 32])),
        topic: topic("t"),
        ..enqueue(n_agent, 1, body)
    }
}

fn expected(nonce: u64) -> ExpectReceipt {
    ExpectReceipt {
        user_agent: user_agent(1),
        nonce,
        dialect: Dialect::Rfc8030,
        sealed_by: KeyId(200),
        within: std::time::Duration::from_secs(60 + nonce),
        limit: 10,
    }
}

async fn exported(storage: &dyn Storage) -> Vec<Portable> {
    let page = storage.export(None, usize::MAX).await.unwrap();
    assert!(page.next.is_none());
    let mut user_agents = page.user_agents;
    user_agents.sort_by_key(|part| part.user_agent);
    user_agents
}

/// A message that waits, one that was replaced, one that was passed on without a seat; an outbox that outlived its user agent; and
/// receipts that are expected.
async fn fill(rig: &Rig) {
    for n in [1, 2] {
        rig.subscribed(n, 1).await;
        rig.stored(asking(n, b"old")).await;
        rig.stored(asking(n, b"new")).await;
    }
    let passing = Enqueue {
        ttl: Ttl::ZERO,
        topic: None,
        ..asking(1, b"now")
    };
    let passed = rig.storage.enqueue(passing).await.unwrap();
    assert!(matches!(passed, Enqueued::Passed { seated: false, .. }));
    assert!(rig.storage.end(user_agent(2), Ending::All).await.unwrap());
    let request = Subscribe {
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        ..subscribe(TO, 0)
    };
    rig.storage.subscribe(request).await.unwrap();
    for nonce in [1, 2] {
        let expect = rig.storage.expect_receipt(user_agent(TO), expected(nonce));
        assert_eq!(expect.await.unwrap(), ReceiptExpected::Recorded);
    }
}

/// PR-37: who is told what became of which message travels, with what is owed: to another storage, and from it into Redis.
/// Repeated, it adds nothing.
#[tokio::test]
async fn what_is_kept_of_receipts_moves() {
    let server = Server::start(Configuration::new()).await;
    let from = open_with(&server.url(), OWN, "push".to_owned()).await;
    let to = open_with(&server.url(), OWN, "other".to_owned()).await;
    let memory = Memory::new(
        Arc::new(Announcements::default()),
        Arc::clone(&from.clock) as _,
        RETENTION,
    );
    fill(&from).await;
    let given = exported(&*from.storage).await;
    let shape: Vec<_> = given
        .iter()
        .map(|part| {
            (
                part.subscriptions.len(),
                part.messages.len(),
                part.outbox.len(),
                part.expected.len(),
            )
        })
        .collect();
    assert_eq!(shape, [(1, 1, 2, 0), (0, 0, 2, 0), (1, 0, 0, 2)]);
    assert_eq!(given[0].messages[0].receipts, Some(user_agent(TO)));
    assert_eq!(given[0].messages[0].key, Some(KeyDigest([5; 32])));
    let all = Imported {
        subscriptions: 2,
        messages: 1,
        receipts: 6,
        ..Imported::default()
    };
    let again = Imported {
        present: 9,
        ..Imported::default()
    };
    let storages: [&dyn Storage; 2] = [&memory, &*to.storage];
    for storage in storages {
        assert_eq!(storage.import(given.clone()).await.unwrap(), all);
        assert_eq!(storage.import(given.clone()).await.unwrap(), again);
        let mut there = exported(storage).await;
        // Of a user agent that is not there, no storage keeps when it would have been forgotten.
        there[1].retained_until_ms = 0;
        assert_eq!(there, given);
        let mut owing = storage.with_outbox(10).await.unwrap();
        owing.sort_unstable();
        assert_eq!(owing, [1, 2].map(user_agent));
    }

    let waits = given[0].messages[0].id;
    let trace = to.storage.trace(user_agent(1), waits.nonce).await.unwrap();
    assert_eq!(trace, Traced::Waiting);
    assert_eq!(to.acknowledged(1, &[waits]).await, [true]);
    let outcomes = to.storage.outbox(user_agent(1), 10).await.unwrap();
    let ends: Vec<_> = outcomes.iter().map(|outcome| outcome.how).collect();
    assert_eq!(
        ends,
        [
            ReceiptOutcome::Replaced,
            ReceiptOutcome::Acknowledged,
            ReceiptOutcome::GivenUp
        ]
    );
    let again = to.storage.import(given).await.unwrap();
    assert_eq!(
        (again.messages, again.in_the_way),
        (0, 1),
        "what has ended does not come back"
    );

    to.attached(TO, seat(1)).await;
    to.advance(std::time::Duration::from_secs(120));
    assert_eq!(to.storage.overdue(10).await.unwrap().len(), 2);
}

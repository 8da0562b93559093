//! What has to be confirmed by replicas, seen from the steps.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, Ttl};
use push_tests::redis::{Configuration, Sentinels, Server};

use super::{OWN, open_with, open_with_replicas};
use crate::storage::contract::{Rig, enqueue, everything, name, seat, subscribe, topic, user_agent};
use crate::storage::{
    Confirm, Ending, Enqueue, Enqueued, ExpectReceipt, Manner, MessageEnd, Refreshed, Removal, StorageError,
    Subscribe,
};

/// How often a step is repeated: more often than nodes meanwhile say that they are there, which is written too.
const TIMES: u64 = 10;

async fn written(server: &Server) -> u64 {
    let info = server.info("persistence").await;
    info["rdb_changes_since_last_save"].parse().unwrap()
}

async fn gone(rig: &Rig, agent: u8) {
    let gone = rig.storage.unsubscribe(user_agent(agent), name(9)).await.unwrap();
    assert_eq!(gone, None);
    let id = MessageId {
        number: MessageNumber(7),
        nonce: 7,
    };
    assert_eq!(rig.acknowledged(agent, &[id]).await, [false]);
}

/// PR-1, PR-33: a step that has nothing left to do writes all the same, so that `WAIT` covers what another connection wrote
/// and could not confirm: an unregister or DELETE that is repeated, say.
#[tokio::test]
async fn what_was_done_before_is_confirmed_too() {
    let server = Server::start(Configuration::new()).await;
    let rig = open_with(&server.url(), OWN, "push".to_owned()).await;
    rig.subscribed(1, 1).await;
    for agent in [1, 2] {
        let before = written(&server).await;
        for _ in 0..TIMES {
            gone(&rig, agent).await;
        }
        let writes = written(&server).await - before;
        assert!(writes >= 2 * TIMES, "user agent {agent}: {writes}");
    }
}

/// PR-1, PR-21: a message that is only passed on is not confirmed by replicas, unless its topic removed one that was stored.
#[tokio::test]
async fn what_a_topic_removes_is_confirmed() {
    let server = Server::start(Configuration::new()).await;
    let rig = open_with(&server.url(), OWN, "push".to_owned()).await;
    rig.subscribed(1, 1).await;
    let confirmed = open_with_replicas(&server.url(), OWN + 1, "push".to_owned(), 1).await;
    let passing = |name| Enqueue {
        ttl: Ttl::ZERO,
        topic: name,
        ..enqueue(1, 1, b"a")
    };
    let passed = confirmed.storage.enqueue(passing(None)).await;
    assert!(matches!(passed, Ok(Enqueued::Passed { .. })), "{passed:?}");
    let unconfirmed = confirmed.storage.enqueue(passing(topic("t"))).await;
    assert!(
        matches!(unconfirmed, Err(StorageError::Unavailable(_))),
        "{unconfirmed:?}"
    );
}

type Asked<'a> = BoxFuture<'a, Result<String, StorageError>>;

/// Every step that can answer "unknown", "gone" or "ended", about what does not exist: user agent 1 has one
/// subscription, user agent 2 does not exist.
fn questions(rig: &Rig) -> Vec<(&'static str, Asked<'_>)> {
    fn told<'a, T: Debug>(answer: impl Future<Output = Result<T, StorageError>> + Send + 'a) -> Asked<'a> {
        answer
            .map(|answer| answer.map(|answer| format!("{answer:?}")))
            .boxed()
    }
    let storage = &rig.storage;
    let id = MessageId {
        number: MessageNumber(7),
        nonce: 7,
    };
    let passing = Enqueue {
        ttl: Ttl::ZERO,
        ..enqueue(1, 9, b"passing")
    };
    let in_a_set = Subscribe {
        only_known: true,
        ..subscribe(2, 1)
    };
    let expected = ExpectReceipt {
        user_agent: user_agent(1),
        nonce: 7,
        dialect: Dialect::Rfc8030,
        sealed_by: KeyId(5),
        within: Duration::from_secs(600),
        limit: 10,
    };
    let outcome = MessageEnd {
        receipts: user_agent(2),
        user_agent: user_agent(1),
        id,
        how: ReceiptOutcome::Acknowledged,
    };
    let refresh = async move {
        match storage.refresh(&[(user_agent(2), seat(1))]).await?.remove(0) {
            Refreshed::Trouble => Err(StorageError::Unavailable("as trouble".to_owned())),
            other => Ok(other),
        }
    };
    let settle = async move { storage.settle_receipts(user_agent(2), &[outcome]).await };
    let acknowledge = async move {
        let (ids, by) = ([id], Removal::Acknowledged);
        storage
            .acknowledge(user_agent(1), &ids, by, Confirm::Durably, None)
            .await
    };
    vec![
        (
            "attach",
            told(storage.attach(user_agent(2), seat(1), everything(), Manner::Insisting)),
        ),
        ("subscribe in a set", told(storage.subscribe(in_a_set))),
        (
            "enqueue to an unknown one",
            told(storage.enqueue(enqueue(2, 1, b"a"))),
        ),
        (
            "enqueue to what has ended",
            told(storage.enqueue(enqueue(1, 9, b"a"))),
        ),
        ("enqueue with TTL 0", told(storage.enqueue(passing))),
        (
            "has a subscription",
            told(storage.has_subscription(user_agent(1), SubscriptionId([9; 8]))),
        ),
        ("unsubscribe", told(storage.unsubscribe(user_agent(1), name(9)))),
        (
            "unsubscribe an unknown one",
            told(storage.unsubscribe(user_agent(2), name(1))),
        ),
        (
            "end one",
            told(storage.end(user_agent(1), Ending::One(SubscriptionId([9; 8])))),
        ),
        ("end all", told(storage.end(user_agent(2), Ending::All))),
        ("acknowledge", told(acknowledge)),
        (
            "expect a receipt",
            told(storage.expect_receipt(user_agent(2), expected)),
        ),
        ("settle a receipt", told(settle)),
        ("trace a message", told(storage.trace(user_agent(2), 7))),
        ("refresh", told(refresh)),
        ("inspect", told(storage.inspect(user_agent(2)))),
    ]
}

/// Asks all questions, once while `others` answer and once while they are stopped.
async fn without_others_nothing_is_unknown(rig: &Rig, others: &[Server]) {
    rig.subscribed(1, 1).await;
    for (step, asked) in questions(rig) {
        let answer = asked.await;
        assert!(answer.is_ok(), "{step}: {answer:?}");
    }
    for other in others {
        other.stop();
    }
    // All at once, because each waits for seconds.
    let (steps, asked): (Vec<_>, Vec<_>) = questions(rig).into_iter().unzip();
    for (step, answer) in steps.into_iter().zip(join_all(asked).await) {
        assert!(
            matches!(answer, Err(StorageError::Unavailable(_))),
            "{step}: {answer:?}"
        );
    }
    for other in others {
        other.go_on();
    }
}

/// PR-3, PR-40: with `wait_replicas`, every step that finds nothing writes, so that `WAIT` has something to count, and is
/// in trouble while no replica confirms it.
#[tokio::test]
async fn without_replicas_nothing_is_unknown() {
    let server = Server::start(Configuration::new()).await;
    let replica = Server::start(Configuration::new().replica_of(&server)).await;
    server.wait_for_replicas(1).await;
    let rig = open_with_replicas(&server.url(), OWN, "push".to_owned(), 1).await;
    for number in 0..questions(&rig).len() {
        let before = written(&server).await;
        let mut asked = "";
        for _ in 0..TIMES {
            let (step, answer) = questions(&rig).swap_remove(number);
            asked = step;
            answer.await.unwrap();
        }
        let writes = written(&server).await - before;
        assert!(writes >= TIMES, "{asked}: {writes}");
    }
    without_others_nothing_is_unknown(&rig, std::slice::from_ref(&replica)).await;
}

/// PR-3, PR-40: under Sentinel, without `wait_replicas`, every step that finds nothing is in trouble while no sentinel
/// names the primary.
#[tokio::test]
async fn without_sentinels_nothing_is_unknown() {
    let sentinels = Sentinels::start(1).await;
    let rig = open_with(&sentinels.url(), OWN, "push".to_owned()).await;
    without_others_nothing_is_unknown(&rig, sentinels.sentinels()).await;
}

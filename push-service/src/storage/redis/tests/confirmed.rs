//! What has to be confirmed by replicas, seen from the steps.

use push_protocol::{MessageId, MessageNumber, Ttl};
use push_tests::redis::{Configuration, Server};

use super::{OWN, open_with, open_with_replicas};
use crate::storage::contract::{Rig, enqueue, name, topic, user_agent};
use crate::storage::{Enqueue, Enqueued, StorageError};

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

/// PR-1, PR-21: a message that is only passed on is confirmed by nobody, unless its topic removed one that was stored.
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

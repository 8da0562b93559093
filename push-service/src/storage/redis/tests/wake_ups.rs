//! What one node tells another from inside its steps.

use push_protocol::capability::KeyId;
use push_protocol::{KeyDigest, MessageId, MessageNumber, Ttl};
use push_tests::redis::{Cluster, Configuration, Server, until};

use super::{OWN, open_with};
use crate::storage::contract::{Rig, bodies, enqueue, everything, ids, seat, topic, user_agent};
use crate::storage::{Confirm, Enqueue, Manner, PASSING_WITH_RECEIPT, Refreshed, Removal, Seat, WakeUp};

/// The other node's incarnation.
const OTHER: u64 = OWN + 1;

/// Two nodes on one store: the first has the seats, the second takes the requests.
async fn two(url: &str) -> (Rig, Rig) {
    let nodes = (
        open_with(url, OWN, "push".to_owned()).await,
        open_with(url, OTHER, "push".to_owned()).await,
    );
    nodes.0.announcements.heard().await;
    nodes.1.announcements.heard().await;
    nodes
}

async fn on_one_redis() -> (Server, Rig, Rig) {
    let server = Server::start(Configuration::new()).await;
    let (holder, sender) = two(&server.url()).await;
    (server, holder, sender)
}

/// PR-13: a message that is stored at one node wakes the seat at another, with its number and the one before.
#[tokio::test]
async fn a_stored_message_wakes_the_other_node() {
    let (_server, holder, sender) = on_one_redis().await;
    holder.subscribed(1, 1).await;
    let before = holder.attached(1, seat(1)).await.upto;
    let restricted = Enqueue {
        key: Some(KeyDigest([5; 32])),
        sealed_by: KeyId(200),
        ..enqueue(1, 1, &[7; 1_000])
    };
    let id = sender.stored(restricted.clone()).await;
    let (agent, told, wake_up) = holder.announcements.next().await;
    let WakeUp::Stored { message, previous } = wake_up else {
        panic!("{wake_up:?}");
    };
    assert_eq!((agent, told, previous), (user_agent(1), seat(1), before));
    assert_eq!((message.id, message.remaining_ms), (id, 86_400_000));
    assert_eq!(
        (message.key.as_deref(), message.sealed_by),
        (restricted.key.as_ref(), KeyId(200))
    );
    let read = holder.page(1, seat(1), everything()).await;
    assert_eq!(*message, *read.messages[0], "a wake-up says what a page says");
    assert!(
        sender.announcements.take().is_empty(),
        "who has no seat is told nothing"
    );
}

/// PR-13: a body that is too large to travel is read.
#[tokio::test]
async fn a_large_body_is_read() {
    let (_server, holder, sender) = on_one_redis().await;
    holder.subscribed(1, 1).await;
    holder.attached(1, seat(1)).await;
    sender.stored(enqueue(1, 1, &[7; 4_096])).await;
    let (_, _, wake_up) = holder.announcements.next().await;
    assert!(matches!(wake_up, WakeUp::ReadAgain), "{wake_up:?}");
}

/// PR-21: a message with TTL 0 passes by whole, whatever its size: it can be read nowhere.
#[tokio::test]
async fn a_passing_message_travels_whole() {
    let (_server, holder, sender) = on_one_redis().await;
    holder.subscribed(1, 1).await;
    holder.attached(1, seat(1)).await;
    let body = [9; 5_000];
    for (receipts, number) in [
        (None, MessageNumber::START),
        (Some(user_agent(9)), PASSING_WITH_RECEIPT),
    ] {
        let passing = Enqueue {
            ttl: Ttl::ZERO,
            key: Some(KeyDigest([5; 32])),
            sealed_by: KeyId(200),
            receipts,
            ..enqueue(1, 1, &body)
        };
        sender.storage.enqueue(passing.clone()).await.unwrap();
        let (_, _, wake_up) = holder.announcements.next().await;
        let WakeUp::Passing(message) = wake_up else {
            panic!("{wake_up:?}");
        };
        let nonce = passing.nonce;
        assert_eq!(message.id, MessageId { number, nonce });
        assert_eq!(
            (message.key.as_deref(), message.sealed_by),
            (passing.key.as_ref(), KeyId(200))
        );
        assert_eq!(bodies(&[message]), [&body[..]]);
    }
}

/// PR-18: what is replaced or acknowledged at one node frees the window of the seat at another.
#[tokio::test]
async fn what_is_removed_elsewhere_is_told() {
    let (_server, holder, sender) = on_one_redis().await;
    holder.subscribed(1, 1).await;
    holder.attached(1, seat(1)).await;
    let with_topic = |body: &[u8]| Enqueue {
        topic: topic("a"),
        ..enqueue(1, 1, body)
    };
    let old = sender.stored(with_topic(b"old")).await;
    let new = sender.stored(with_topic(b"new")).await;
    let (how, confirm) = (Removal::Cancelled, Confirm::Durably);
    sender
        .storage
        .acknowledge(user_agent(1), &[new], how, confirm, None)
        .await
        .unwrap();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        if let (_, _, WakeUp::Removed(ids)) = holder.announcements.next().await {
            gone.extend(ids);
        }
    }
    assert_eq!(gone, [old, new]);
}

/// PR-10: who loses the seat to another node is told so.
#[tokio::test]
async fn who_is_displaced_is_told() {
    let (_server, holder, sender) = on_one_redis().await;
    holder.subscribed(1, 1).await;
    holder.attached(1, seat(1)).await;
    let theirs = Seat {
        incarnation: OTHER,
        session: 5,
    };
    let attached = sender
        .storage
        .attach(user_agent(1), theirs, everything(), Manner::Asking);
    attached.await.unwrap();
    let (_, told, wake_up) = holder.announcements.next().await;
    assert!(matches!(wake_up, WakeUp::Displaced), "{wake_up:?}");
    assert_eq!(told, seat(1));
}

/// PR-13: the same on a cluster, whichever shard has the user agent.
#[tokio::test]
async fn wake_ups_come_from_every_shard() {
    let cluster = Cluster::start(3, 0).await;
    let (holder, sender) = two(&cluster.url()).await;
    for n in 1..=12 {
        holder.subscribed(n, n).await;
        holder.attached(n, seat(n.into())).await;
        let id = sender.stored(enqueue(n, n, b"a")).await;
        let (agent, told, wake_up) = holder.announcements.next().await;
        let WakeUp::Stored { message, .. } = wake_up else {
            panic!("{wake_up:?}");
        };
        assert_eq!((agent, told, message.id), (user_agent(n), seat(n.into()), id));
        assert_eq!(ids(&holder.page(n, seat(n.into()), everything()).await), [id]);
    }
}

/// PR-14: after a primary has returned, a session for which a message waits is told to read its queue from the start; one
/// for which nothing waits is not.
#[tokio::test]
async fn queues_are_read_from_the_start_after_a_primary_has_returned() {
    let mut server = Server::start(Configuration::new().durable()).await;
    let rig = open_with(&server.url(), OWN, "push".to_owned()).await;
    rig.announcements.heard().await;
    let mut stored = Vec::new();
    for n in [1, 2] {
        rig.subscribed(n, n).await;
        rig.attached(n, seat(n.into())).await;
        stored.push(rig.stored(enqueue(n, n, b"a")).await);
    }
    rig.acknowledged(2, &stored[1..]).await;
    let sessions = [(user_agent(1), seat(1)), (user_agent(2), seat(2))];
    let held = async || rig.storage.refresh(&sessions).await.unwrap();
    let last = |number| Refreshed::Held { last: number };
    let as_stored = [last(stored[0].number), last(stored[1].number)];
    assert_eq!(held().await, as_stored);
    server.kill().await;
    // The lost connection for wake-ups is noticed before.
    let address = server.address().to_string();
    until("the node misses it", || async {
        let why = rig.storage.health().await.err()?.to_string();
        why.contains(&address).then_some(())
    })
    .await;
    server.start_again().await;
    let from_the_start = [last(MessageNumber(1)), as_stored[1]];
    until("the node has looked at it", || async {
        (held().await == from_the_start).then_some(())
    })
    .await;
}

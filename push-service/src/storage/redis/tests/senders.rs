//! Sums of senders over several nodes: when a node knows of another's messages, and how a wrong sum becomes right again.

use std::sync::Arc;
use std::time::Duration;

use push_protocol::{MessageId, Ttl};
use push_tests::redis::{Configuration, Reply, Server};

use super::super::url::RedisUrl;
use super::super::{Options, Redis};
use super::OWN;
use crate::defaults::MESSAGE_OVERHEAD_BYTES;
use crate::storage::clock::ManualClock;
use crate::storage::contract::senders::sender;
use crate::storage::contract::{Announcements, enqueue, everything, name, seat, subscribe, user_agent};
use crate::storage::{Attached, Caps, Confirm, Ending, Enqueue, Enqueued, Manner, Removal, Storage};

/// What each message counts, and room for three of them.
const COUNTED: u64 = 100 + MESSAGE_OVERHEAD_BYTES;
const CAP: u64 = 3 * COUNTED;

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
}

impl Scene {
    async fn start() -> Self {
        let scene = Self {
            server: Server::start(Configuration::new()).await,
            clock: Arc::new(ManualClock::new(1_700_000_000_000_000)),
        };
        let node = scene.node(OWN).await;
        node.subscribe(subscribe(1, 1)).await.unwrap();
        node.close().await.unwrap();
        scene
    }

    async fn node(&self, incarnation: u64) -> Redis {
        let options = Options {
            incarnation,
            clock: Some(Arc::clone(&self.clock) as _),
            ..Options::new(
                RedisUrl::parse(&self.server.url()).unwrap(),
                Arc::new(Announcements::default()) as _,
            )
        };
        Redis::open(options).await.unwrap()
    }

    /// The keys of sums.
    async fn sums(&self) -> Vec<String> {
        let keys = self.server.command(&["KEYS", "push:{*}:sent:*"]).await;
        keys.list().iter().map(Reply::text).collect()
    }
}

async fn round(node: &Redis) {
    node.senders.exchange(&node.runner).await.unwrap();
}

fn message(n: u8, secs: u64) -> Enqueue {
    Enqueue {
        ttl: Ttl::from_secs(secs),
        sender: Some(sender(1)),
        caps: Caps {
            sender_bytes: CAP,
            store_bytes: 0,
        },
        ..enqueue(1, 1, &[n; 100])
    }
}

async fn stored(node: &Redis, n: u8, secs: u64) -> MessageId {
    match node.enqueue(message(n, secs)).await.unwrap() {
        Enqueued::Stored { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

async fn acknowledged(node: &Redis, ids: &[MessageId]) -> Vec<bool> {
    let (user, removal) = (user_agent(1), Removal::Acknowledged);
    node.acknowledge(user, ids, removal, Confirm::Durably, None)
        .await
        .unwrap()
}

/// PR-42, PR-43: a node knows at once what it counted itself. After a round of both nodes, it also counts the other one's
/// messages, and messages that left at the other one make room.
#[tokio::test]
async fn nodes_tell_each_other_what_waits() {
    let scene = Scene::start().await;
    let (one, other) = (scene.node(OWN).await, scene.node(OWN + 1).await);
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(stored(&one, n, 3_600).await);
    }
    assert_eq!(
        one.enqueue(message(9, 3_600)).await.unwrap(),
        Enqueued::SenderFull
    );
    round(&one).await;
    // The other node asks for a sender's sum only after its first push; until then a cap may be exceeded.
    ids.push(stored(&other, 3, 3_600).await);
    round(&other).await;
    assert_eq!(
        other.enqueue(message(9, 3_600)).await.unwrap(),
        Enqueued::SenderFull
    );
    assert_eq!(other.queued_bytes(), Some(4 * COUNTED));

    assert_eq!(acknowledged(&one, &ids[..2]).await, [true; 2]);
    round(&one).await;
    round(&other).await;
    assert_eq!(other.senders.of(sender(1)), 2 * COUNTED);
    stored(&other, 4, 3_600).await;
    for node in [one, other] {
        node.close().await.unwrap();
    }
}

/// PR-43: a node that ends in order tells what it counted last, and a node that starts hears it in its first round.
#[tokio::test]
async fn a_node_that_leaves_has_told() {
    let scene = Scene::start().await;
    let node = scene.node(OWN).await;
    for n in 0..3 {
        stored(&node, n, 3_600).await;
    }
    node.close().await.unwrap();
    let next = scene.node(OWN + 1).await;
    let id = stored(&next, 3, 3_600).await;
    round(&next).await;
    assert_eq!(next.queued_bytes(), Some(4 * COUNTED));
    assert_eq!(next.senders.of(sender(1)), 4 * COUNTED);
    assert_eq!(acknowledged(&next, &[id]).await, [true]);
    assert_eq!(next.senders.of(sender(1)), 3 * COUNTED);
    next.close().await.unwrap();
}

/// PR-43: a sum that is too large or too small is right again when its messages would have expired.
#[tokio::test]
async fn a_wrong_sum_heals() {
    let scene = Scene::start().await;
    let node = scene.node(OWN).await;
    let id = stored(&node, 1, 600).await;
    round(&node).await;
    let key = "push:{101}:sent:0101010101010101".to_owned();
    assert!(scene.sums().await.contains(&key), "{:?}", scene.sums().await);
    let part = scene.server.command(&["HKEYS", &key]).await.list()[0].text();
    for (wrong, is_full) in [("1000000", true), ("-3000000", false)] {
        let add = ["HINCRBY", &key, &part, wrong];
        scene.server.command(&add).await.integer();
        round(&node).await;
        let answer = node.enqueue(message(2, 600)).await.unwrap();
        assert_eq!(answer == Enqueued::SenderFull, is_full, "{answer:?}");
    }
    assert_eq!(acknowledged(&node, &[id]).await, [true]);
    scene.clock.advance(Duration::from_secs(600 + 75 + 1));
    round(&node).await;
    assert_eq!(node.senders.of(sender(1)), 0);
    assert!(!scene.sums().await.contains(&key), "nothing is left of it");
    stored(&node, 3, 600).await;
    assert_eq!(node.senders.of(sender(1)), COUNTED);
    node.close().await.unwrap();
}

/// PR-29, PR-43: messages that expire without a sweep stop counting, and the keys of sums expire by themselves.
#[tokio::test]
async fn what_expires_unnoticed_is_counted_out() {
    let scene = Scene::start().await;
    let node = scene.node(OWN).await;
    stored(&node, 1, 30).await;
    stored(&node, 2, 7_200).await;
    round(&node).await;
    assert_eq!(node.queued_bytes(), Some(2 * COUNTED));
    for key in scene.sums().await {
        let left = scene.server.command(&["PTTL", &key]).await.integer();
        assert!((7_200_000..9_200_000).contains(&left), "{key}: {left}");
    }
    scene.clock.advance(Duration::from_secs(30 + 66));
    round(&node).await;
    assert_eq!(node.queued_bytes(), Some(COUNTED));
    assert_eq!(node.senders.of(sender(1)), COUNTED);
    scene.clock.advance(Duration::from_secs(7_200 + 900));
    round(&node).await;
    assert_eq!((node.queued_bytes(), node.senders.of(sender(1))), (Some(0), 0));
    assert_eq!(scene.sums().await, [] as [String; 0]);
    node.close().await.unwrap();
}

/// PR-43: messages that end with their user agent are counted out, however it ends.
#[tokio::test]
async fn what_ends_with_its_user_agent_is_counted_out() {
    const MANY: u8 = 150;
    let scene = Scene::start().await;
    let node = scene.node(OWN).await;
    let unlimited = |n| Enqueue {
        caps: Caps::default(),
        ..message(n, 3_600)
    };
    let fill = async |how: &str| {
        node.subscribe(subscribe(1, 1)).await.unwrap();
        for n in 0..MANY {
            let answer = node.enqueue(unlimited(n)).await.unwrap();
            assert!(matches!(answer, Enqueued::Stored { .. }), "{how}: {answer:?}");
        }
        assert_eq!(node.senders.of(sender(1)), u64::from(MANY) * COUNTED, "{how}");
    };
    fill("the whole user agent").await;
    assert!(Storage::end(&node, user_agent(1), Ending::All).await.unwrap());
    assert_eq!(node.senders.of(sender(1)), 0);
    fill("its last subscription").await;
    let last = Ending::One(subscribe(1, 1).fresh_id);
    assert!(Storage::end(&node, user_agent(1), last).await.unwrap());
    assert_eq!(node.senders.of(sender(1)), 0);
    fill("a session that unregisters and leaves").await;
    let head = everything();
    let attached = node.attach(user_agent(1), seat(1), head, Manner::Insisting).await;
    assert!(matches!(attached, Ok(Attached::Known { .. })));
    node.unsubscribe(user_agent(1), name(1)).await.unwrap();
    node.release(user_agent(1), seat(1)).await.unwrap();
    assert_eq!(node.senders.of(sender(1)), 0);
    round(&node).await;
    assert_eq!(node.queued_bytes(), Some(0));
    node.close().await.unwrap();
}

/// PR-43: what was taken out and never counted, such as messages of an older version, hides nothing of what waits.
#[tokio::test]
async fn a_part_below_zero_hides_nothing() {
    let scene = Scene::start().await;
    let node = scene.node(OWN).await;
    stored(&node, 1, 30 * 86_400).await;
    round(&node).await;
    let key = "push:{101}:sent:0101010101010101";
    let add = ["HINCRBY", key, "10:ffffffffff", "-5000"];
    assert_eq!(scene.server.command(&add).await.integer(), -5_000);
    stored(&node, 2, 30 * 86_400).await;
    round(&node).await;
    assert_eq!(node.senders.of(sender(1)), 2 * COUNTED);
    node.close().await.unwrap();
}

/// PR-43: a node that is killed has not told what it stored last. When those messages leave at another node, sums are too small
/// for a while, and never too large.
#[tokio::test]
async fn a_killed_node_makes_no_sender_refused() {
    let scene = Scene::start().await;
    let (killed, other) = (scene.node(OWN).await, scene.node(OWN + 1).await);
    let mut ids = vec![stored(&killed, 1, 3_600).await];
    round(&killed).await;
    // Its rounds end with it, so that it tells nothing more.
    killed.background.end().await;
    ids.extend([stored(&killed, 2, 3_600).await, stored(&killed, 3, 3_600).await]);
    drop(killed);
    stored(&other, 4, 3_600).await;
    assert_eq!(acknowledged(&other, &ids).await, [true; 3]);
    round(&other).await;
    assert_eq!(
        other.senders.of(sender(1)),
        0,
        "one waits, and two were not told of"
    );
    for n in 5..8 {
        stored(&other, n, 3_600).await;
    }
    round(&other).await;
    // Those that were not told of are missing until their part is over.
    scene.clock.advance(Duration::from_secs(3_600 + 451));
    round(&other).await;
    assert_eq!(other.senders.of(sender(1)), 0);
    for n in 8..11 {
        stored(&other, n, 3_600).await;
    }
    assert_eq!(
        other.enqueue(message(11, 3_600)).await.unwrap(),
        Enqueued::SenderFull
    );
    other.close().await.unwrap();
}

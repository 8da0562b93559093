//! A cluster: a shard fails over while the others work, and a slot moves under traffic.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use push_tests::application_server::Push;
use push_tests::node::Node;
use push_tests::redis::{Cluster, FailOver, Reply};
use push_tests::user_agent::{Subscription, UserAgent};

use super::traffic::Traffic;
use super::{is_trouble, ready, sender, settings};

/// A user agent whose queue is in a certain shard, connected.
struct InShard {
    agent: UserAgent,
    subscription: Subscription,
    slot: u16,
}

/// Records of user agents: their keys.
async fn records(cluster: &Cluster) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for server in cluster.servers().iter().filter(|server| server.answers()) {
        let listed = server.command(&["KEYS", "push:{*}:r:*"]).await;
        keys.extend(listed.list().iter().map(Reply::text));
    }
    keys
}

/// Arrives as one user agent after the other until one is in this shard.
async fn arrive_in(cluster: &Cluster, shard: usize, node: &Node) -> InShard {
    loop {
        let before = records(cluster).await;
        let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
        let subscription = agent.subscribe(None).await;
        let after = records(cluster).await;
        let key = after.difference(&before).next().expect("its record").clone();
        let slot = cluster.slot_of(&key).await;
        if cluster.shard(shard).contains(&cluster.owner_of_slot(slot).await) {
            return InShard {
                agent,
                subscription,
                slot,
            };
        }
        agent.unsubscribe(&subscription.name).await;
        agent.leave().await;
    }
}

/// PR-1, PR-33: the primary of a shard dies; what its replica had confirmed is delivered, its pushes are answered 503 until a
/// replica confirms again, and the other shards never notice.
#[tokio::test]
async fn a_shard_fails_over_and_the_others_work() {
    let mut cluster = Cluster::start(3, 1).await;
    let url = cluster.url();
    let configured = || settings(&url).set("storage.redis.wait_replicas", 1);
    let (one, other) = (Node::start(configured()).await, Node::start(configured()).await);
    let mut failing = arrive_in(&cluster, 0, &one).await;
    let mut steady = arrive_in(&cluster, 1, &one).await;
    let traffic = Traffic::start(&one, &other).await;
    let mut to_failing = sender(&other).await;
    let mut to_steady = sender(&other).await;
    let push = |to: &Subscription, text: &str| Push::new(&to.push_resource, text);
    assert_eq!(
        to_failing
            .push(&push(&failing.subscription, "before"))
            .await
            .status,
        201
    );

    let mut longest = Duration::ZERO;
    let mut steadily = 0;
    let (failover, promoted) = {
        let began = Instant::now();
        let failing_over = cluster.fail_over(0);
        tokio::pin!(failing_over);
        loop {
            let asked = Instant::now();
            let text = format!("steady {steadily}");
            let message = push(&steady.subscription, &text);
            let answered = tokio::select! {
                failover = &mut failing_over => break (failover, began.elapsed()),
                answer = to_steady.push(&message) => answer,
            };
            assert_eq!(answered.status, 201, "{}", answered.text());
            steady.agent.receives(&text).await;
            longest = longest.max(asked.elapsed());
            steadily += 1;
        }
    };
    assert!(
        steadily > 20 && longest < Duration::from_secs(2),
        "{steadily}, {longest:?}"
    );
    let FailOver { killed, .. } = failover;
    // The new primary has no replica yet that could confirm.
    is_trouble(&to_failing.push(&push(&failing.subscription, "unconfirmed")).await);
    cluster.server_mut(killed).start_again().await;
    cluster.wait_until_settled().await;
    let back = Instant::now();
    traffic.goes_on().await;
    for node in [&one, &other] {
        ready(node, 200).await;
    }
    let healed = back.elapsed();
    assert_eq!(
        to_failing
            .push(&push(&failing.subscription, "after"))
            .await
            .status,
        201
    );
    failing.agent.receives("before").await;
    loop {
        let came = failing.agent.notification().await;
        failing.agent.acknowledge(&came).await;
        match came.text().as_deref() {
            Some("after") => break,
            text => assert_eq!(text, Some("unconfirmed")),
        }
    }
    println!(
        "cluster: promoted after {promoted:?}; the others answered {steadily} pushes, the slowest in {longest:?}; healed \
         {healed:?} after the replica was back; {:?}",
        traffic.audit(&other).await
    );
}

/// PR-13, PR-32: slots move to other servers under traffic: whatever was answered 201 arrives over the same channel, nothing is
/// carried out twice, and none is unknown. While its slot is half moved, a user agent is served whichever
/// side its keys are on, and those that are missing on both.
#[tokio::test]
async fn slots_move_under_traffic() {
    let cluster = Cluster::start(3, 0).await;
    let (one, other) = (
        Node::start(settings(&cluster.url())).await,
        Node::start(settings(&cluster.url())).await,
    );
    let before = records(&cluster).await;
    let traffic = Traffic::start(&one, &other).await;
    let mut slots = BTreeSet::new();
    for key in records(&cluster).await.difference(&before) {
        slots.insert(cluster.slot_of(key).await);
    }
    // As an operator's tool moves them: as fast as it can.
    let mut healed = Vec::new();
    for slot in slots {
        let to = (cluster.owner_of_slot(slot).await + 1) % 3;
        let migration = cluster.begin_migration(slot, to).await;
        while cluster.migrate_keys(migration, 10).await > 0 {}
        cluster.end_migration(migration).await;
        healed.push(traffic.goes_on().await);
    }
    // A move that takes its time. With an empty queue, there are keys that don't exist.
    let mut idle = arrive_in(&cluster, 0, &one).await;
    let push = |text: &str| Push::new(&idle.subscription.push_resource, text);
    let mut http = sender(&other).await;
    let to = (cluster.owner_of_slot(idle.slot).await + 1) % 3;
    let migration = cluster.begin_migration(idle.slot, to).await;
    assert_eq!(http.push(&push("kept")).await.status, 201);
    while cluster.migrate_keys(migration, 10).await > 0 {}
    assert_eq!(http.push(&push("kept as well")).await.status, 201);
    cluster.end_migration(migration).await;
    let kept = [idle.agent.notification().await, idle.agent.notification().await];
    assert_eq!(kept[0].text().as_deref(), Some("kept"));
    // With a message that waits, all keys exist: it is served on either side.
    let migration = cluster.begin_migration(idle.slot, (to + 1) % 3).await;
    assert_eq!(http.push(&push("before the move")).await.status, 201);
    while cluster.migrate_keys(migration, 10).await > 0 {}
    assert_eq!(http.push(&push("behind the move")).await.status, 201);
    cluster.end_migration(migration).await;
    assert_eq!(http.push(&push("after the move")).await.status, 201);
    for text in ["before the move", "behind the move", "after the move"] {
        idle.agent.receives(text).await;
    }
    for notification in &kept {
        idle.agent.acknowledge(notification).await;
    }
    ready(&one, 200).await;
    println!(
        "slots: went on after {healed:?}; {:?}",
        traffic.audit(&other).await
    );
}

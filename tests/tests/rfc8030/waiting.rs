//! Messages that wait: for how long, and what takes their place.

use push_tests::application_server::Push;

use crate::rfc8030::world::{Storage, World};

/// R30-TTL-6, R30-MON-14: a message whose time is over is as if it had never been sent: it reaches no monitor, and no request can
/// acknowledge it or take it back.
pub(crate) async fn what_expired_was_never_there(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let location = world.accepts(&Push::new(&made.push, "short").ttl(1)).await;
    let mut monitor = agent.monitor(&made.subscription).await;
    let promised = monitor.receives("short").await;
    world.accepts(&Push::new(&made.push, "long").ttl(600)).await;
    world.seconds_pass(2).await;
    assert_eq!(world.waits(&made.subscription).await, ["long"]);
    assert_eq!(agent.delete(promised).await.status, 404);
    assert_eq!(agent.delete(location).await.status, 404);
}

/// R30-TTL-7, PR-21: with TTL 0 a message reaches those that monitor at that moment, at any node, and none that come later.
pub(crate) async fn no_time_to_live_is_now_or_never(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    world.accepts(&Push::new(&made.push, "never").ttl(0)).await;
    assert!(world.waits(&made.subscription).await.is_empty());
    let mut monitor = world.seated(&agent, &made.subscription, &made.push).await;
    world.accepts(&Push::new(&made.push, "now").ttl(0)).await;
    monitor.receives("now").await;
    assert!(world.waits(&made.subscription).await.is_empty());
}

/// R30-TOP-2, R30-TOP-3, R30-TOP-4, R30-TOP-6, R30-TOP-8: a message takes the place of the one with its topic, in its own
/// subscription only, with all that belongs to it.
pub(crate) async fn a_topic_replaces_what_waits(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let other = agent.subscribe_in(crate::rfc8030::world::ORIGIN, &made.set).await;
    let push = |to: &str, text: &str, topic: &str| Push::new(to, text).header("topic", topic);
    let old = world.accepts(&push(&made.push, "old", "weather")).await;
    let plain = world.accepts(&Push::new(&made.push, "plain")).await;
    world.accepts(&push(&made.push, "other case", "Weather")).await;
    world.accepts(&push(&other.push, "elsewhere", "weather")).await;
    let urgent = push(&made.push, "new", "weather")
        .header("urgency", "high")
        .ttl(1);
    let new = world.accepts(&urgent).await;
    assert_ne!(old, new);
    assert_eq!(agent.delete(old).await.status, 404);
    let mut high = agent
        .monitor_with(&made.set, &[("urgency", "high"), ("prefer", "wait=0")])
        .await;
    high.receives("new").await;
    assert_eq!(high.over().await.status, 200);
    world.seconds_pass(2).await;
    assert_eq!(world.waits(&made.set).await, ["plain", "other case", "elsewhere"]);
    assert_eq!(agent.delete(new).await.status, 404);
    assert_eq!(agent.delete(plain).await.status, 204);
}

/// R30-TOP-3, R30-TOP-5, R30-ACK-3: what was pushed already and is replaced then comes anew; acknowledging the old one finds
/// nothing, and leaves the new one there.
pub(crate) async fn a_topic_replaces_what_was_pushed(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let push = |text: &str| Push::new(&made.push, text).header("topic", "weather");
    world.accepts(&push("old")).await;
    let old = monitor.receives("old").await;
    world.accepts(&push("new")).await;
    let new = monitor.receives("new").await;
    assert_ne!(old, new);
    assert_eq!(agent.delete(old).await.status, 404);
    assert_eq!(world.waits(&made.subscription).await, ["new"]);
    assert_eq!(agent.delete(&new).await.status, 204);
    assert_eq!(agent.delete(new).await.status, 404);
}

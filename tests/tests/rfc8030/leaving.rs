//! A node that goes, by itself or not: its monitors are told, or come back, and nothing is lost.

use push_tests::application_server::Push;
use push_tests::events::Events;
use push_tests::monitor::receipt_link;
use push_tests::settings::Settings;

use crate::rfc8030::world::{ORIGIN, Storage, World};

/// R30-LB-3, R30-MON-11, R30-MON-15, PR-36: a node that leaves answers its monitors 200, by either way to monitor; what is not
/// acknowledged by then waits for them elsewhere.
pub(crate) async fn a_node_that_leaves_answers_its_monitors(storage: Storage) {
    let quick = |settings: Settings| settings.set("drain.delay", "0s").set("drain.spread", "200ms");
    let mut world = World::start_with(storage, quick).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let other = agent.subscribe(ORIGIN).await;
    let mut events = Events::open(&world.user_agents_connector(), &other.set, &[]).await;
    for to in [&made, &other] {
        world.accepts(&Push::new(&to.push, "not acknowledged")).await;
    }
    monitor.receives("not acknowledged").await;
    assert_eq!(events.next().await.event, "message");
    world.user_agents_node().terminate();
    assert_eq!(monitor.over().await.status, 200);
    assert_eq!(events.end().await, 200);
    let (status, log) = world.user_agents_node().ended().await;
    assert!(status.success(), "{status}: {}", log.text());
    world.user_agents_node().start_again().await;
    let agent = world.elsewhere().await;
    for gone in [&made, &other] {
        let mut monitor = agent.monitor(&gone.set).await;
        let url = monitor.receives("not acknowledged").await;
        assert_eq!(agent.delete(url).await.status, 204);
    }
}

/// PR-1, PR-10, PR-21, PR-25, R30-ACK-5, R30-RDL-5: a node that is killed takes nothing along: not the subscription, nor what
/// was pushed and not acknowledged, nor a receipt that was promised, be it of a message with TTL 0; nor does what it was told
/// come back.
pub(crate) async fn a_killed_node_takes_nothing_along(storage: Storage) {
    let mut world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let promised = world.promises(&Push::new(&made.push, "pushed")).await;
    let now_or_never = Push::new(&made.push, "now or never").ttl(0);
    let passes = world
        .promises(&now_or_never.header("link", &receipt_link(&promised.receipts)))
        .await;
    let done = world.accepts(&Push::new(&made.push, "done")).await;
    monitor.receives("pushed").await;
    let passed = monitor.receives("now or never").await;
    let url = monitor.receives("done").await;
    assert_eq!(agent.delete(url).await.status, 204);
    world.user_agents_node().kill().await;
    world.user_agents_node().start_again().await;
    let agent = world.user_agent().await;
    let mut monitor = agent.monitor(&made.set).await;
    let url = monitor.receives("pushed").await;
    assert_eq!(agent.delete(done).await.status, 404);
    assert_eq!(agent.delete(url).await.status, 204);
    assert_eq!(agent.delete(passed).await.status, 204);
    let awaiting = world.elsewhere().await;
    let mut receipts = awaiting.monitor(&promised.receipts).await;
    for of in [&promised, &passes] {
        let receipt = receipts.message().await;
        assert_eq!(receipt.url.to_string(), of.message);
        assert_eq!(receipt.answer.status, 204);
    }
}
